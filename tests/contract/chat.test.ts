import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startHttpServer, type TestServer } from '../support/http-server.ts';
import { edge, runningEdge } from './edge.ts';

const client = edge();
const messages = [{ role: 'user', content: 'Say grüße 🌲' }];

interface Seen {
  readonly headers: Record<string, unknown>;
  readonly body: Record<string, unknown>;
}

let upstream: TestServer;
let seen: Seen[] = [];
/** How the upstream answers the next calls. */
let answer: (response: ServerResponse) => void | Promise<void>;

beforeAll(async () => {
  upstream = await startHttpServer((request, body, response) => {
    seen.push({ headers: request.headers, body: JSON.parse(body.toString()) });
    return answer(response);
  }, runningEdge().upstreamPort);
});
afterAll(() => upstream.close());

const completion = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'test-chat',
  choices: [{ index: 0, message: { role: 'assistant', content: 'grüße 🌲' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
};
const chunk = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;

function answerWith(status: number, body: unknown, headers: Record<string, string> = {}): void {
  seen = [];
  answer = (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };
}

test('a whole answer passes as the upstream gave it', async () => {
  answerWith(200, completion, { 'set-cookie': 'a=1', server: 'upstream' });
  const { status, headers, body } = await client.json('/v1/chat/completions', {
    body: { model: 'test-chat', messages, temperature: 0.5, unknown_field: { kept: true } },
  });
  expect([status, body]).toEqual([200, completion]);
  expect(headers.get('set-cookie')).toBeNull();
  expect(seen).toHaveLength(1);
  expect(seen[0]?.body).toEqual({ model: 'test-chat', messages, temperature: 0.5, unknown_field: { kept: true } });
});

test('the upstream gets the deployment’s key and the trace, never the tenant’s key', async () => {
  answerWith(200, completion);
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const { headers } = await client.json('/v1/chat/completions', {
    body: { model: 'test-chat', messages },
    headers: { traceparent, 'x-api-key': runningEdge().key, cookie: 'session=secret' },
  });
  expect(headers.get('x-trace-id')).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
  const upstreamHeaders = seen[0]?.headers ?? {};
  expect(upstreamHeaders.authorization).toBe('Bearer key-of-the-deployment');
  expect(upstreamHeaders.traceparent).toMatch(
    /^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$/,
  );
  expect(JSON.stringify(upstreamHeaders)).not.toMatch(/tl_|session=secret/);
});

test('a stream comes as it is made: the first piece is here before the upstream has sent the second', async () => {
  const sendRest = Promise.withResolvers<void>();
  seen = [];
  answer = async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk('first'));
    await sendRest.promise;
    response.end(`${chunk('second')}data: [DONE]\n\n`);
  };
  const response = await client.call('/v1/chat/completions', { body: { model: 'test-chat', messages, stream: true } });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const reader = response.body?.getReader();
  const first = await reader?.read();
  expect(new TextDecoder().decode(first?.value)).toBe(chunk('first'));
  sendRest.resolve();
  let rest = '';
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) {
    rest += new TextDecoder().decode(step.value);
  }
  expect(rest).toBe(`${chunk('second')}data: [DONE]\n\n`);
});

test('a client that goes away ends the stream at the upstream', async () => {
  const closed = Promise.withResolvers<string>();
  answer = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const timer = setInterval(() => response.write(chunk('more')), 20);
    response.once('close', () => {
      clearInterval(timer);
      closed.resolve('closed');
    });
  };
  const leaving = new AbortController();
  const response = await client.call('/v1/chat/completions', {
    body: { model: 'test-chat', messages, stream: true },
    signal: leaving.signal,
  });
  await response.body?.getReader().read();
  leaving.abort();
  const late = new Promise((resolve) => setTimeout(resolve, 10_000, 'still open after 10 s'));
  expect(await Promise.race([closed.promise, late])).toBe('closed');
});

test.each([400, 404, 422, 429, 500])('status %i of the upstream is the client’s to read', async (status) => {
  const error = { error: { message: 'told by the upstream', type: 'x', param: null, code: 'y' } };
  answerWith(status, error, { 'retry-after': '3' });
  const answered = await client.json('/v1/chat/completions', { body: { model: 'test-chat', messages } });
  expect([answered.status, answered.body, answered.headers.get('retry-after')]).toEqual([status, error, '3']);
  // A good call between two failures, so that the one replica is never left alone.
  answerWith(200, completion);
  expect((await client.call('/v1/chat/completions', { body: { model: 'test-chat', messages } })).status).toBe(200);
});

test.each<[string, () => void]>([
  ['refuses our key', () => answerWith(401, { error: { message: 'Incorrect key: key-of-the-deployment' } })],
  ['redirects', () => answerWith(307, {}, { location: 'http://127.0.0.1:9/v1/chat/completions' })],
  [
    'hangs up',
    () => {
      answer = (response) => {
        response.destroy();
      };
    },
  ],
])('an upstream that %s is a 502 that tells nothing of the deployment', async (_, prepare) => {
  prepare();
  const { status, body } = await client.json('/v1/chat/completions', { body: { model: 'test-chat', messages } });
  expect([status, body.error.code]).toEqual([502, 'upstream_failed']);
  expect(JSON.stringify(body)).not.toMatch(/key-of-the-deployment|127\.0\.0\.1/);
  answerWith(200, completion);
  expect((await client.call('/v1/chat/completions', { body: { model: 'test-chat', messages } })).status).toBe(200);
});

test.each<[string, unknown, number, string]>([
  ['a model that is not listed', { model: 'other', messages }, 404, 'model_not_found'],
  ['no model', { messages }, 400, 'invalid_request'],
  ['no messages', { model: 'test-chat', messages: [] }, 400, 'invalid_request'],
  ['a message without a role', { model: 'test-chat', messages: [{ content: 'a' }] }, 400, 'invalid_request'],
  ['a stream that is neither true nor false', { model: 'test-chat', messages, stream: 'yes' }, 400, 'invalid_request'],
  ['what is not JSON', '{"model":', 400, 'invalid_request'],
])('%s does not reach the upstream', async (_, body, status, code) => {
  answerWith(200, completion);
  const answered = await client.json('/v1/chat/completions', { body });
  expect([answered.status, answered.body.error.code, seen.length]).toEqual([status, code, 0]);
});
