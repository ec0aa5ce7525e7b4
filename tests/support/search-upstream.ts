/** An OpenAI-compatible server whose models are small functions of what they are told, and which counts every call. */
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { startHttpServer } from './http-server.ts';

/** One call as it came. */
export interface SeenCall {
  readonly model: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what a request claims to be, and its expectations check it.
  readonly body: any;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A server that listens. */
export interface SearchUpstream {
  /** Ends in `/v1`. */
  readonly url: string;
  readonly calls: SeenCall[];
  /** Calls that the caller gave up before they were answered. */
  readonly abandoned: () => number;
  /** Milliseconds that each answer takes. */
  delayMs: number;
  close(): Promise<void>;
}

interface Message {
  readonly role: string;
  readonly content: string;
}

/** One more than the last answer, from 1 on: refining pays. */
function count(messages: readonly Message[]): string {
  const last = messages.findLast(({ role }) => role === 'assistant');
  return String(Number(last?.content ?? '0') + 1);
}

/** A mark that is the number in the answer, 10 at most. */
function mark(messages: readonly Message[]): string {
  const [, answer = '0'] = /marked:\n(\d+)/.exec(messages.at(-1)?.content ?? '') ?? [];
  return JSON.stringify({ score: Math.min(10, Number(answer)), feedback: `more than ${answer}` });
}

const models: Readonly<Record<string, (messages: readonly Message[]) => string>> = {
  counter: (messages) => (messages.at(-1)?.content.startsWith('Request:') === true ? mark(messages) : count(messages)),
  'other-counter': count,
};

/** The models' names: `broken` answers 500, `slow` not within a minute. */
export const searchModels = [...Object.keys(models), 'broken', 'slow'];

/** Listens on a free port. */
export async function startSearchUpstream(): Promise<SearchUpstream> {
  const calls: SeenCall[] = [];
  let abandoned = 0;
  const answer = (response: ServerResponse, model: string, content: string) => {
    const choices = [{ index: 0, message: { role: 'assistant', content, refusal: null }, finish_reason: 'stop' }];
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model, choices, usage }));
  };
  const server = await startHttpServer(async (request, bytes, response) => {
    const body = JSON.parse(bytes.toString());
    calls.push({ model: body.model, body, headers: request.headers });
    response.once('close', () => {
      if (!response.writableFinished) abandoned += 1;
    });
    await delay(body.model === 'slow' ? 60_000 : upstream.delayMs, undefined, { ref: false });
    const respond = models[body.model];
    if (respond !== undefined) return answer(response, body.model, respond(body.messages));
    response.writeHead(500, { 'content-type': 'application/json' });
    response.end('{"error":{"message":"broken as told","type":"server_error"}}');
  });
  const upstream: SearchUpstream = {
    url: `${server.url}/v1`,
    calls,
    abandoned: () => abandoned,
    delayMs: 20,
    close: () => server.close(),
  };
  return upstream;
}
