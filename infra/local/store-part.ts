/** The shared store as a part of a local run, always behind Upstash's REST protocol. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { never, type Part } from './part.ts';
import { freePort, loopback } from './ports.ts';
import { findProgram, requireProgram } from './programs.ts';
import { keepSecretFile } from './secret-file.ts';
import { startService } from './service-part.ts';
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
/** What a Redis has and the embedded store has not. */
const embeddedLacks = 'no redis-server: string commands only, in memory, nothing survives a stop';
const preferredRestPort = 54_380;
const preferredRedisPort = 54_379;

function keepToken(directory: string): Promise<string> {
  return keepSecretFile(join(directory, 'store-token'), () => randomBytes(24).toString('hex'));
}

async function startRest(name: (port: number) => string, executor: Executor, directory: string): Promise<StorePart> {
  const token = await keepToken(directory);
  const server = await startRestServer(executor, await freePort(preferredRestPort), token);
  return {
    name: name(server.port),
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

/** The store of this project, inside our own process. Its name says what it lacks. */
export function startEmbeddedStore(directory: string): Promise<StorePart> {
  const name = (port: number) => `embedded on port ${port} (${embeddedLacks})`;
  return startRest(name, createMemoryExecutor(storeBytesMax, Date.now), directory);
}

/** The REST protocol in front of the Redis at `redisUrl`. */
export function startBridge(redisUrl: string, directory: string): Promise<StorePart> {
  return startRest((port) => `REST bridge to Redis on port ${port}`, createRedisExecutor(redisUrl), directory);
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
  const program = await requireProgram({
    title: 'Redis',
    program: 'redis-server',
    debian: 'redis-server',
    brew: 'redis',
  });
  return startRedis(program, directory);
}

/** The machine's `redis-server` where PATH has one; else the embedded store. Nothing is installed. */
export async function startFoundStore(directory: string): Promise<StorePart> {
  const program = await findProgram('redis-server');
  return program === null ? startEmbeddedStore(directory) : startRedis(program, directory);
}

async function startRedis(program: string, directory: string): Promise<StorePart> {
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
  const url = `redis://${loopback}:${port}`;
  const redis = await startService({ title: 'Redis', program, parameters, directory, isReady: () => answers(url) });
  const bridge = await startBridge(url, directory).catch(async (error: unknown) => {
    await redis.stop();
    throw error;
  });
  const stop = async () => {
    await bridge.stop();
    await redis.stop();
  };
  const name = `Redis on port ${port}, REST on ${new URL(bridge.url).port}`;
  return { ...bridge, ...redis, name, stop, redisUrl: url };
}
