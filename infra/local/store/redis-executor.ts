/** Commands on a real Redis, by ioredis: what stands behind the REST protocol where a Redis is there. */
import { Redis } from 'ioredis';
import { type Command, type Executor, errorReply, type Reply } from './reply.ts';

const connectTimeoutMs = 2_000;
const commandTimeoutMs = 5_000;

/** What ioredis gives back: bytes, numbers, null, lists, and errors inside a transaction. */
function toReply(value: unknown): Reply {
  if (value instanceof Error) return errorReply(value.message);
  if (value === null || value === undefined) return { kind: 'bulk', value: null };
  if (typeof value === 'number' || typeof value === 'bigint') return { kind: 'integer', value: BigInt(value) };
  if (Array.isArray(value)) return { kind: 'array', items: value.map(toReply) };
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value));
  // ioredis does not tell a status from a text of the same letters; OK is the one that matters (see `toJson`).
  return bytes.toString('latin1') === 'OK' ? { kind: 'status', text: 'OK' } : { kind: 'bulk', value: bytes };
}

/** In upper case, or ioredis takes HGETALL's list for its own and makes an object of it. */
function nameOf(command: Command): string {
  return Buffer.from(command[0] ?? [])
    .toString('utf8')
    .toUpperCase();
}

function parametersOf(command: Command): Buffer[] {
  return command.slice(1).map((bytes) => Buffer.from(bytes));
}

/** A connection error is Redis' absence: it is thrown. An answer of Redis', even an error, is a reply. */
function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

/**
 * Commands on the Redis at `url`. Connects in the background and again after a break; a command without a connection
 * fails at once instead of waiting.
 */
export function createRedisExecutor(url: string): Executor {
  const redis = new Redis(url, {
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    maxRetriesPerRequest: 1,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
  });
  // Told with each command that fails; without a listener ioredis writes it to the console.
  redis.on('error', () => undefined);
  return {
    async execute(command) {
      try {
        return toReply(await redis.callBuffer(nameOf(command), ...parametersOf(command)));
      } catch (error) {
        if (isReplyError(error)) return errorReply(error.message);
        throw error;
      }
    },
    async executeTogether(commands) {
      const transaction = redis.multi();
      for (const command of commands) transaction.callBuffer(nameOf(command), ...parametersOf(command));
      const results = await transaction.exec();
      return (results ?? []).map(([error, value]) => toReply(error ?? value));
    },
    close: async () => redis.disconnect(),
  };
}
