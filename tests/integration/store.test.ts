import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createUpstashStore } from '../../functions/platforms/redis-upstash.ts';
import { ensureDebianFile } from '../../infra/local/debian-packages.ts';
import { freePort } from '../../infra/local/ports.ts';
import { createMemoryExecutor } from '../../infra/local/store/memory-executor.ts';
import { startRespServer } from '../../infra/local/store/resp-server.ts';
import { startRestServer } from '../../infra/local/store/rest-server.ts';
import { startMachineRedis } from '../../infra/local/store-part.ts';
import { startBreakable } from './breakable.ts';
import { type RunningStore, storeSuite } from './store-suite.ts';

async function startEmbedded(): Promise<RunningStore> {
  const executor = createMemoryExecutor(16 * 1024 * 1024, Date.now);
  const resp = await startRespServer(executor, 0, 'pass');
  const rest = await startRestServer(executor, 0, 'token');
  return {
    restUrl: `http://127.0.0.1:${rest.port}`,
    token: 'token',
    redisUrl: `redis://:pass@127.0.0.1:${resp.port}`,
    async close() {
      await resp.close();
      await rest.close();
    },
  };
}

async function startReal(): Promise<RunningStore> {
  const directory = await mkdtemp(join(tmpdir(), 'treeline-redis-'));
  const part = await startMachineRedis(directory);
  return {
    restUrl: part.url,
    token: part.token,
    redisUrl: part.redisUrl ?? '',
    async close() {
      await part.stop();
      await rm(directory, { recursive: true });
    },
  };
}

storeSuite('the embedded store', startEmbedded);

const missing = await ensureDebianFile('/usr/bin/redis-server', ['redis-server']);
if (missing === null) storeSuite('Redis behind the bridge', startReal);
else describe.skip(`Redis: ${missing}`, () => it('is tested where it can be installed', () => undefined));

describe('a store that does not answer', () => {
  it('is told when it is down, and works once it is up again', async () => {
    const running = await startEmbedded();
    const relay = await startBreakable(Number(new URL(running.restUrl).port));
    const url = `http://127.0.0.1:${relay.port}`;
    const store = createUpstashStore({ url, token: running.token, timeoutMs: 300 });
    for (const behaviour of ['refuse', 'hang'] as const) {
      await store.set('kept', behaviour, 60);
      await relay.become(behaviour);
      const begun = performance.now();
      await expect(store.get('kept')).rejects.toMatchObject({ name: 'SharedStoreUnavailable' });
      expect(performance.now() - begun).toBeLessThan(2_000);
      await relay.become('pass');
      await expect.poll(() => store.get('kept').catch(() => null)).toBe(behaviour);
    }
    await relay.close();
    await running.close();
  });

  it('is told when it answers, but with nonsense', async () => {
    const server = createServer((_, response) => response.end('<html>')).listen(await freePort(), '127.0.0.1');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const store = createUpstashStore({ url: `http://127.0.0.1:${port}`, token: 'token' });
    await expect(store.get('key')).rejects.toMatchObject({ name: 'SharedStoreUnavailable' });
    server.close();
  });

  it('does not give the token or the value away', async () => {
    const store = createUpstashStore({ url: `http://127.0.0.1:${await freePort()}`, token: 'secret-token' });
    const error = await store.set('key', 'secret-value', 60).catch((thrown: Error) => thrown);
    expect(String(error)).toMatch(/^SharedStoreUnavailable/);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/secret/);
  });
});
