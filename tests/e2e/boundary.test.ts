/** Real nodes behind the edge on both hosts: the engine's boundary, and nodes that come and go, found by discovery alone. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import type { ServicePart } from '../../infra/local/part.ts';
import type { Stack } from '../../infra/local/stack.ts';
import { EdgeClient } from '../contract/edge.ts';
import { missingPool, PoolRun } from './pool-run.ts';

const reason = missingPool();

describe.skipIf(reason !== '').each<EdgeHost>(['workers', 'supabase'])(`the boundary through %s ${reason}`, (host) => {
  let pool: PoolRun;
  let first: ServicePart;
  let stack: Stack;
  let client: EdgeClient;

  beforeAll(async () => {
    pool = await PoolRun.start();
    first = await pool.addEmptyNode();
    stack = await pool.startEdge(host, first);
    client = new EdgeClient(stack.url, stack.key);
  });
  afterAll(async () => {
    await stack?.stop();
    await pool?.stop();
  });

  const call = (body: object) => client.json('/api/v1/ipc/call', { body });

  test('echo gives the bytes back, and sum adds them, without a copy on their way to the engine', async () => {
    const echo = await call({ operation: 'echo', data: 'test' });
    expect([echo.status, echo.body]).toEqual([
      200,
      { operation: 'echo', data: 'test', transport: 'ffi', bytes_copied: 0, elapsed_ns: expect.any(Number) },
    ]);
    expect((await call({ operation: 'echo', data: { base64: '/wAH' } })).body.data).toEqual({ base64: '/wAH' });
    expect((await call({ operation: 'sum', data: 'test' })).body.result).toBe(116 + 101 + 115 + 116);
  });

  test('a node that joins is found without being named, and takes over when the first one dies', async () => {
    const second = await pool.addEmptyNode();
    const listed = async (): Promise<string[]> => {
      const { nodes } = (await (await fetch(`${first.address.url}/v1/nodes`)).json()) as {
        nodes: { address: string }[];
      };
      return nodes.map(({ address }) => address).sort();
    };
    const giveUpAt = performance.now() + 20_000;
    while ((await listed()).length < 2 && performance.now() < giveUpAt) await delay(100);
    expect(await listed()).toEqual([first.address.url, second.address.url].sort());
    // The edge reads the directory anew every few seconds, with the next call and behind it.
    await delay(3_500);
    await call({ operation: 'echo', data: 'again' });
    await delay(1_000);
    if (first.pid !== null) process.kill(first.pid, 'SIGKILL');
    for (let made = 0; made < 10; made += 1) {
      const { status, body } = await call({ operation: 'echo', data: `call ${made}` });
      expect([status, body.data]).toEqual([200, `call ${made}`]);
    }
  });
});
