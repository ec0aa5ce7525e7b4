/** The shared store as a part of a local run, always behind Upstash's REST protocol. */
import { randomBytes } from 'node:crypto';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { canInstall, installPackages } from './debian-packages.ts';
import { never, type Part } from './part.ts';
import { freePort, loopback } from './ports.ts';
import { startChild } from './process.ts';
import { keepSecretFile } from './secret-file.ts';
import { createMemoryExecutor } from './store/memory-executor.ts';
import { createRedisExecutor } from './store/redis-executor.ts';
import type { Executor } from './store/reply.ts';
import { startRestServer } from './store/rest-server.ts';

/** A part with the address and token of its REST protocol. */
export interface StorePart extends Part {
  readonly url: string;
  readonly token: string;
  /** Where a real Redis is behind it, its own address. */
  readonly redisUrl?: string;
}

/** What the embedded store may take of this machine's memory. */
const storeBytesMax = 64 * 1024 * 1024;
const preferredRestPort = 54_380;
const preferredRedisPort = 54_379;
const startTimeoutMs = 10_000;
const pollMs = 50;
const stopGraceMs = 5_000;

function keepToken(directory: string): Promise<string> {
  return keepSecretFile(join(directory, 'store-token'), () => randomBytes(24).toString('hex'));
}

async function startRest(name: string, executor: Executor, directory: string): Promise<StorePart> {
  const token = await keepToken(directory);
  const server = await startRestServer(executor, await freePort(preferredRestPort), token);
  return {
    name: `${name} on port ${server.port}`,
    pid: null,
    failed: never,
    url: `http://${loopback}:${server.port}`,
    token,
    stop: server.close,
  };
}

/** A store that runs anyway. */
export function existingStore(url: string, token: string): StorePart {
  return {
    name: 'the store at UPSTASH_REDIS_REST_URL',
    pid: null,
    failed: never,
    url,
    token,
    stop: async () => undefined,
  };
}

/** The store of this project, inside our own process. */
export function startEmbeddedStore(directory: string): Promise<StorePart> {
  return startRest('Store (embedded, in memory)', createMemoryExecutor(storeBytesMax, Date.now), directory);
}

/** The REST protocol in front of the Redis at `redisUrl`. */
export function startBridge(redisUrl: string, directory: string): Promise<StorePart> {
  return startRest('REST bridge to Redis', createRedisExecutor(redisUrl), directory);
}

/** The path of `name` among the folders of PATH, or null. */
async function findProgram(name: string): Promise<string | null> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return null;
}

async function answers(url: string): Promise<boolean> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return (await redis.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}

/** A `redis-server` of the machine's (installed where we may) with nothing on disk, behind the REST protocol. */
export async function startMachineRedis(directory: string): Promise<StorePart> {
  if ((await findProgram('redis-server')) === null && (await canInstall())) await installPackages(['redis-server']);
  const program = await findProgram('redis-server');
  if (program === null)
    throw new Error(
      'Redis is not installed. Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis.',
    );
  const port = await freePort(preferredRedisPort);
  const settings = {
    port,
    bind: loopback,
    save: '',
    appendonly: 'no',
    maxmemory: '256mb',
    'maxmemory-policy': 'allkeys-lru',
  };
  const parameters = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = await startChild(program, parameters, { cwd: directory });
  const url = `redis://${loopback}:${port}`;
  for (let waitedMs = 0; !(await answers(url)); waitedMs += pollMs) {
    if (waitedMs >= startTimeoutMs) {
      await child.stop('SIGTERM', stopGraceMs);
      throw new Error(`Redis did not answer within ${startTimeoutMs} ms.`);
    }
    await delay(pollMs);
  }
  const bridge = await startBridge(url, directory);
  let stopping = false;
  const failed = new Promise<string>((resolve) => {
    void child.ended.then(() => {
      if (!stopping) resolve('Redis ended by itself.');
    });
  });
  const stop = async () => {
    stopping = true;
    await bridge.stop();
    await child.stop('SIGTERM', stopGraceMs);
  };
  const name = `Redis on port ${port}, REST on ${new URL(bridge.url).port}`;
  return { ...bridge, name, pid: child.pid, failed, stop, redisUrl: url };
}
