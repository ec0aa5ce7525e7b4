import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, expect, test } from 'vitest';
import { startHttpServer } from '../../tests/support/http-server.ts';
import { type NodeBehaviour, saying, startNode } from '../../tests/support/pool-node.ts';
import { seededRandom } from '../../tests/support/ports.ts';
import { callOptions, createPoolClient, type PoolClientPorts } from './client.ts';

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((server) => server.close()));
});

const clock = { now: () => Date.now(), elapsed: () => performance.now() };

/** A client whose pauses are kept instead of waited. */
function clientOf(url: string) {
  const pauses: number[] = [];
  const ports: PoolClientPorts = {
    fetch,
    clock,
    random: seededRandom(7),
    pause: async (milliseconds) => void pauses.push(milliseconds),
  };
  return { client: createPoolClient(url, ports), pauses };
}

async function setUp(behaviour: NodeBehaviour) {
  const node = await startNode(behaviour);
  closing.push(node);
  return { node, ...clientOf(node.url) };
}

/** Fails with `error` `times` times, then answers. */
function failing<Answer>(times: number, error: ConnectError, answer: Answer) {
  let calls = 0;
  const handle = (): Answer => {
    calls += 1;
    if (calls <= times) throw error;
    return answer;
  };
  return { handle, calls: () => calls };
}

const unavailable = new ConnectError('not now', Code.Unavailable);
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

async function textOf(messages: AsyncIterable<{ text: string }>): Promise<string> {
  let text = '';
  for await (const message of messages) text += message.text;
  return text;
}

test('every service is reached, in binary, with trace and deadline', async () => {
  const { node, client } = await setUp({
    inference: { embed: ({ texts }) => ({ dimensions: texts.length }), generate: () => saying('a', 'b') },
    model: { listModels: () => ({ models: [{ name: 'm' }] }) },
    node: { getNode: () => ({ id: 'n' }) },
    job: { getJob: ({ id }) => ({ id }) },
    ipc: { call: ({ operation, data }) => ({ operation, data }) },
  });
  const options = callOptions({ traceparent, timeoutMs: 5_000 });
  expect((await client.inference.embed({ model: 'm', texts: ['x', 'y'] }, options)).dimensions).toBe(2);
  expect(await textOf(client.inference.generate({ model: 'm' }, options))).toBe('ab');
  expect((await client.model.listModels({}, options)).models.map(({ name }) => name)).toEqual(['m']);
  expect((await client.node.getNode({}, options)).id).toBe('n');
  expect((await client.job.getJob({ id: 'j' }, options)).id).toBe('j');
  const data = new Uint8Array([0, 255, 7]);
  expect((await client.ipc.call({ operation: 'echo', data }, options)).data).toEqual(data);
  expect(node.seen).toHaveLength(6);
  for (const { headers } of node.seen) {
    expect(headers.traceparent).toBe(traceparent);
    expect(headers['content-type']).toMatch(/^application\/(connect\+)?proto$/);
    expect(Number(headers['connect-timeout-ms'])).toBeGreaterThan(4_000);
    expect(Number(headers['connect-timeout-ms'])).toBeLessThanOrEqual(5_000);
  }
});

test('a passing failure is tried again with growing, random pauses, three times at most', async () => {
  const twice = failing(2, unavailable, { dimensions: 3 });
  const { client, pauses } = await setUp({ inference: { embed: twice.handle } });
  expect((await client.inference.embed({}, callOptions({}))).dimensions).toBe(3);
  expect(twice.calls()).toBe(3);
  expect(pauses).toHaveLength(2);
  expect(pauses[0]).toBeLessThan(100);
  expect(pauses[1]).toBeLessThan(200);

  const always = failing(9, unavailable, {});
  const other = await setUp({ inference: { embed: always.handle } });
  await expect(other.client.inference.embed({}, callOptions({}))).rejects.toMatchObject({ code: Code.Unavailable });
  expect(always.calls()).toBe(3);
});

test.each<[string, ConnectError, number]>([
  ['overload that names a time is waited for', retryAfter('2'), 2],
  ['overload that names too long a time is not', retryAfter('60'), 1],
  ['a request that is wrong stays wrong', new ConnectError('wrong', Code.InvalidArgument), 1],
  ['what is not understood is not repeated', new ConnectError('broken', Code.Internal), 1],
])('%s', async (_, error, calls) => {
  const once = failing(1, error, { dimensions: 3 });
  const { client, pauses } = await setUp({ inference: { embed: once.handle } });
  await client.inference.embed({}, callOptions({})).catch(() => {});
  expect(once.calls()).toBe(calls);
  expect(pauses).toEqual(calls === 2 ? [2_000] : []);
});

function retryAfter(seconds: string): ConnectError {
  return new ConnectError('full', Code.ResourceExhausted, { 'retry-after': seconds });
}

test('a job is submitted again only with a key that makes it the same job', async () => {
  const withKey = failing(1, unavailable, { id: 'j' });
  const first = await setUp({ job: { submitJob: withKey.handle } });
  expect((await first.client.job.submitJob({ idempotencyKey: 'k' }, callOptions({}))).id).toBe('j');
  const withoutKey = failing(1, unavailable, { id: 'j' });
  const second = await setUp({ job: { submitJob: withoutKey.handle } });
  await expect(second.client.job.submitJob({}, callOptions({}))).rejects.toMatchObject({ code: Code.Unavailable });
  expect(withoutKey.calls()).toBe(1);
});

test('one attempt is one attempt where the caller says so', async () => {
  const once = failing(1, unavailable, {});
  const { client } = await setUp({ inference: { embed: once.handle } });
  await expect(client.inference.embed({}, callOptions({ attemptsMax: 1 }))).rejects.toThrow('not now');
  expect(once.calls()).toBe(1);
});

test('a stream is opened again before its first message, and never after it', async () => {
  let calls = 0;
  const { client } = await setUp({
    inference: {
      async *generate({ model }) {
        calls += 1;
        if (model === 'early' && calls === 1) throw unavailable;
        yield { text: 'a' };
        if (model === 'late') throw unavailable;
      },
    },
  });
  expect(await textOf(client.inference.generate({ model: 'early' }, callOptions({})))).toBe('a');
  expect(calls).toBe(2);
  const read: string[] = [];
  const late = async () => {
    for await (const { text } of client.inference.generate({ model: 'late' }, callOptions({}))) read.push(text);
  };
  await expect(late()).rejects.toMatchObject({ code: Code.Unavailable });
  expect([read, calls]).toEqual([['a'], 3]);
});

test('the deadline ends a call that the node does not', async () => {
  const { client } = await setUp({
    inference: {
      embed: () => new Promise(() => {}),
      async *generate() {
        yield { text: 'a' };
        await new Promise(() => {});
      },
    },
  });
  const options = callOptions({ timeoutMs: 100 });
  await expect(client.inference.embed({}, options)).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  await expect(textOf(client.inference.generate({}, options))).rejects.toMatchObject({ code: Code.DeadlineExceeded });
});

test.each(['by its signal', 'by leaving the loop'])('a stream that is given up %s ends at the node', async (how) => {
  const ended = Promise.withResolvers<void>();
  const { client } = await setUp({
    inference: {
      async *generate(_, { signal }) {
        signal.addEventListener('abort', () => ended.resolve());
        for (;;) {
          yield { text: 'a' };
          await new Promise((resolve) => setTimeout(resolve, 5));
          if (signal.aborted) return;
        }
      },
    },
  });
  const caller = new AbortController();
  const read = async () => {
    for await (const _ of client.inference.generate({}, callOptions({ signal: caller.signal }))) {
      if (how === 'by its signal') caller.abort();
      else break;
    }
  };
  if (how === 'by its signal') await expect(read()).rejects.toMatchObject({ code: Code.Canceled });
  else await read();
  const late = new Promise((_, reject) => setTimeout(reject, 5_000, new Error('the node was not told')));
  await Promise.race([ended.promise, late]);
});

test('a node that is away is unavailable, and so is one that redirects: nothing is followed', async () => {
  const { client, pauses } = clientOf('http://127.0.0.1:9');
  await expect(client.node.getNode({}, callOptions({}))).rejects.toMatchObject({ code: Code.Unavailable });
  expect(pauses).toHaveLength(2);
  let asked = 0;
  const redirecting = await startHttpServer((_, __, response) => {
    asked += 1;
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  closing.push(redirecting);
  const other = clientOf(redirecting.url).client.node.getNode({}, callOptions({ attemptsMax: 1 }));
  await expect(other).rejects.toMatchObject({ code: Code.Unavailable });
  expect(asked).toBe(1);
});

test('what is no answer of a node fails with an error, whatever it is', async () => {
  const bodies = ['<html>', '', '{"code":"nonsense"}', '\u0007'.repeat(100_000)];
  for (const [type, status] of [
    ['application/proto', 200],
    ['application/json', 500],
    ['text/html', 200],
  ] as const) {
    for (const body of bodies) {
      const server = await startHttpServer((_, __, response) => {
        response.writeHead(status, { 'content-type': type }).end(body);
      });
      closing.push(server);
      const { client } = clientOf(server.url);
      const answered = client.node.getNode({}, callOptions({ attemptsMax: 1 })).then(
        () => 'answer',
        (thrown: unknown) => (thrown instanceof ConnectError ? 'error' : thrown),
      );
      // An empty body is an empty message in binary.
      expect(await answered).toBe(type === 'application/proto' && body === '' ? 'answer' : 'error');
    }
  }
});
