/** One streamed chat, timed. */

/** How a call went. */
export interface Timing {
  /** From the request to the first piece of text, in milliseconds. */
  readonly firstTokenMs: number;
  /** Between the pieces after it. */
  readonly gapsMs: readonly number[];
  readonly totalMs: number;
  /** As the server counted them. */
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** What is asked. */
export interface Question {
  readonly url: string;
  readonly model: string;
  readonly content: string;
  readonly tokens: number;
  readonly signal: AbortSignal;
}

/** The server refused the call because it is full: an answer, not a fault. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** Splits a stream of bytes into the data of its server-sent events. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data: ')) yield line.slice('data: '.length);
  }
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
}

/** Asks and reads to the end. @throws Refused where the server is full, Error where it fails */
export async function chat({ url, model, content, tokens, signal }: Question): Promise<Timing> {
  const startedAt = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content }],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: tokens,
      temperature: 0,
      ignore_eos: true,
    }),
    signal,
  });
  if (response.status === 429 || response.status === 503) throw new Refused(await response.text());
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}: ${await response.text()}`);
  let firstTokenMs = Number.NaN;
  let lastAt = startedAt;
  const gapsMs: number[] = [];
  let usage: Chunk['usage'] = null;
  let done = false;
  for await (const data of events(response.body)) {
    if (data === '[DONE]') {
      done = true;
      break;
    }
    const chunk = JSON.parse(data) as Chunk;
    usage = chunk.usage ?? usage;
    if (!chunk.choices[0]?.delta.content) continue;
    const now = performance.now();
    if (Number.isNaN(firstTokenMs)) firstTokenMs = now - startedAt;
    else gapsMs.push(now - lastAt);
    lastAt = now;
  }
  if (!done || !usage) throw new Error('the stream broke off');
  return {
    firstTokenMs,
    gapsMs,
    totalMs: performance.now() - startedAt,
    promptTokens: usage.prompt_tokens,
    completionTokens: usage.completion_tokens,
  };
}
