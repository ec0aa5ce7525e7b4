/**
 * Reads the token counts from an answer while it passes, without holding it back. Streams name them in the last event
 * (when the client asked for `stream_options.include_usage`), whole answers in `usage`.
 */

/** Characters of the answer's end that are looked at; `usage` comes last in both forms. */
export const tailLengthMax = 16_384;

/** Tokens as the upstream counted them; 0 where it did not say. */
export interface TokenCounts {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** The last `"usage": {…}` with counts in `tail`. */
export function countsIn(tail: string): TokenCounts {
  const count = (name: string): number => {
    const all = [...tail.matchAll(new RegExp(`"${name}"\\s*:\\s*(\\d{1,9})`, 'g'))];
    return Number(all.at(-1)?.[1] ?? 0);
  };
  return { inputTokens: count('prompt_tokens'), outputTokens: count('completion_tokens') };
}

/** Passes `body` on unchanged; calls `report` once, when it has ended or broken off. */
export function meterUsage(
  { body }: { readonly body: ReadableStream<Uint8Array> | null },
  report: (counts: TokenCounts) => void,
): { readonly body: ReadableStream<Uint8Array> | null; readonly done: Promise<void> } {
  if (body === null) {
    report({ inputTokens: 0, outputTokens: 0 });
    return { body, done: Promise.resolve() };
  }
  const decoder = new TextDecoder();
  let tail = '';
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      tail = (tail + decoder.decode(chunk, { stream: true })).slice(-tailLengthMax);
      controller.enqueue(chunk);
    },
  });
  const done = body
    .pipeTo(writable)
    .catch(() => {})
    .then(() => report(countsIn(tail)));
  return { body: readable, done };
}
