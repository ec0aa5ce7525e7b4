import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { startHttpServer, type TestServer } from '../../tests/support/http-server.ts';
import { goModules, ManualClock, seededRandom } from '../../tests/support/ports.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { loadRouter } from '../wasm/loader.ts';
import { type ChatCall, passChat } from './chat.ts';
import { Upstreams } from './upstreams.ts';

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const body = new TextEncoder().encode(
  '{"model":"m","messages":[{"role":"user","content":"grüße"}],"extra":{"kept":1}}',
);

/** A gateway in front of a real upstream that answers with `handle`. */
async function setUp(
  handle: (request: IncomingMessage, body: Buffer, response: ServerResponse) => void | Promise<void>,
) {
  const server = await startHttpServer(handle);
  servers.push(server);
  const [clock, metrics, live] = [new ManualClock(), createMetrics(), await loadRouter(goModules)];
  const router = async () => live;
  const upstreams = new Upstreams([`${server.url}/v1`], { clock, random: seededRandom(1), router });
  const call = (changes: Partial<ChatCall> = {}, apiKey: string | null = 'upstream-key') =>
    passChat(
      { upstreams, apiKey, clock, metrics, fetch },
      { body, traceparent, signal: new AbortController().signal, ...changes },
    );
  const results = async () =>
    (await metrics.upstreamCalls.get()).values.map(({ labels, value }) => [labels.result, value]);
  return { server, call, results };
}

const aSecond = () => new Promise((resolve) => setTimeout(resolve, 1_000));

test('the call goes on unchanged with the deployment’s key and the trace, and no header of the client', async () => {
  let seen: { url: string | undefined; headers: IncomingMessage['headers']; body: Buffer } | null = null;
  const { call } = await setUp((request, received, response) => {
    seen = { url: request.url, headers: request.headers, body: received };
    response
      .writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'a=1', 'x-request-id': 'r1' })
      .end('{"ok":1}');
  });
  const answer = await call();
  expect(seen).toMatchObject({
    url: '/v1/chat/completions',
    headers: { authorization: 'Bearer upstream-key', traceparent, 'content-type': 'application/json' },
    body: Buffer.from(body),
  });
  expect([...answer.headers.keys()].sort()).toEqual(['content-type', 'x-request-id']);
  expect(await new Response(answer.body).json()).toEqual({ ok: 1 });
});

test('without a key none is sent', async () => {
  let authorization: string | undefined = 'unset';
  const { call } = await setUp((request, _, response) => {
    authorization = request.headers.authorization;
    response.end('{}');
  });
  await call({}, null);
  expect(authorization).toBeUndefined();
});

test('the first chunk is here before the upstream has sent the second', async () => {
  let sendRest = (): void => {};
  const { call, results } = await setUp((_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    sendRest = () => response.end('data: 2\n\ndata: [DONE]\n\n');
  });
  const answer = await call();
  const reader = answer.body?.getReader();
  const first = await reader?.read();
  expect(new TextDecoder().decode(first?.value)).toBe('data: 1\n\n');
  sendRest();
  let rest = '';
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) {
    rest += new TextDecoder().decode(step.value);
  }
  expect(rest).toBe('data: 2\n\ndata: [DONE]\n\n');
  expect(await results()).toEqual([['ok', 1]]);
});

test.each([400, 404, 422, 429, 500, 503])('status %i is the client’s to read', async (status) => {
  const { call, results } = await setUp((_, __, response) => {
    response
      .writeHead(status, { 'content-type': 'application/json', 'retry-after': '7' })
      .end('{"error":{"message":"m"}}');
  });
  const answer = await call();
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([status, '7']);
  expect(await new Response(answer.body).json()).toEqual({ error: { message: 'm' } });
  expect(await results()).toEqual([[status >= 500 || status === 429 ? 'error' : 'ok', 1]]);
});

test.each([401, 403])(
  'status %i is about our key, not the client’s, so it is a 502 that does not repeat it',
  async (status) => {
    const { call } = await setUp((_, __, response) => {
      response.writeHead(status).end('{"error":{"message":"Incorrect API key: upstream-key"}}');
    });
    await expect(call()).rejects.toMatchObject({
      code: 'upstream_failed',
      status: 502,
      message: expect.not.stringContaining('upstream-key'),
    });
  },
);

test('a redirect is not followed: the key would go with it', async () => {
  let calls = 0;
  const { call } = await setUp((_, __, response) => {
    calls += 1;
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  await expect(call()).rejects.toMatchObject({ code: 'upstream_failed' });
  expect(calls).toBe(1);
});

test('an upstream that is away, or hangs up, is a 502', async () => {
  const { server, call, results } = await setUp((_, __, response) => {
    response.destroy();
  });
  await expect(call()).rejects.toMatchObject({ code: 'upstream_failed', status: 502 });
  await server.close();
  await expect(call()).rejects.toMatchObject({ code: 'upstream_failed' });
  expect(await results()).toEqual([['failed', 2]]);
});

test('a client that goes away ends the call to the upstream, and the replica is not blamed', async () => {
  const gone = Promise.withResolvers<void>();
  const { call, results } = await setUp((request) => {
    request.once('close', () => {});
    request.socket.once('close', () => gone.resolve());
  });
  const client = new AbortController();
  const answer = call({ signal: client.signal });
  setTimeout(() => client.abort(), 50);
  await expect(answer).rejects.toMatchObject({ code: 'upstream_failed' });
  await Promise.race([gone.promise, aSecond().then(() => Promise.reject(new Error('the upstream was not told')))]);
  expect(await results()).toEqual([['aborted', 1]]);
});

test('a client that goes away in the middle of a stream ends it at the upstream', async () => {
  const gone = Promise.withResolvers<void>();
  const { call } = await setUp((_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    response.once('close', () => gone.resolve());
  });
  const client = new AbortController();
  const answer = await call({ signal: client.signal });
  await answer.body?.getReader().read();
  client.abort();
  await Promise.race([gone.promise, aSecond().then(() => Promise.reject(new Error('the upstream was not told')))]);
});

test('an upstream whose head does not come in time is a 504', async () => {
  const { call } = await setUp(() => {});
  const timeout = new DOMException('no head in time', 'TimeoutError');
  const client = new AbortController();
  const answer = call({ signal: client.signal });
  setTimeout(() => client.abort(timeout), 50);
  await expect(answer).rejects.toMatchObject({ code: 'upstream_timeout', status: 504 });
});

test('replicas that failed are left alone: the next calls go to the good one', async () => {
  const bad = await startHttpServer((_, __, response) => {
    response.writeHead(500).end('{}');
  });
  const good = await startHttpServer((_, __, response) => {
    response.end('{}');
  });
  servers.push(bad, good);
  const live = await loadRouter(goModules);
  const clock = new ManualClock();
  const router = async () => live;
  const upstreams = new Upstreams([bad.url, good.url], { clock, random: seededRandom(9), router });
  const statuses: number[] = [];
  for (let call = 0; call < 40; call += 1) {
    const ports = { upstreams, apiKey: null, clock, metrics: createMetrics(), fetch };
    const answer = await passChat(ports, { body, traceparent, signal: new AbortController().signal });
    await answer.body?.cancel();
    statuses.push(answer.status);
  }
  expect(statuses).toContain(500);
  expect(statuses.slice(-20)).toEqual(Array.from({ length: 20 }, () => 200));
});
