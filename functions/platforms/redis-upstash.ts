/** The port `SharedStore` over Upstash's REST protocol, by its own client: one `fetch` a command. */
import { Redis } from '@upstash/redis';
import type { SharedStore } from '../ports.ts';

/** Where the store is, and how long it may take. */
export interface UpstashOptions {
  readonly url: string;
  readonly token: string;
  /** Milliseconds that a command may take; 1,000 where not given: a cache that is slower than that is no cache. */
  readonly timeoutMs?: number;
}

const timeoutMsDefault = 1_000;

/** The store did not answer, or refused the command. The message holds neither the token nor a value. */
export class SharedStoreUnavailable extends Error {
  override readonly name = 'SharedStoreUnavailable';
}

function reasonOf(error: unknown, token: string): string {
  const text = error instanceof Error ? error.message : String(error);
  // The client appends the command, with its values, to the server's error.
  const withoutCommand = text.split(', command was:')[0] ?? '';
  return token === '' ? withoutCommand : withoutCommand.replaceAll(token, '***');
}

/**
 * A store that throws `SharedStoreUnavailable` where Redis does not answer in time. It tries once: whoever asks has a
 * better use for the time than a second attempt.
 */
export function createUpstashStore(options: UpstashOptions): SharedStore {
  const { url, token, timeoutMs = timeoutMsDefault } = options;
  const redis = new Redis({
    url,
    token,
    retry: false,
    enableTelemetry: false,
    enableAutoPipelining: false,
    // Values are strings and stay so: '12' must not come back as a number.
    automaticDeserialization: false,
    signal: () => AbortSignal.timeout(timeoutMs),
  });
  async function told<Result>(command: Promise<Result>): Promise<Result> {
    try {
      return await command;
    } catch (error) {
      const late = error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
      const reason = late ? `no answer within ${timeoutMs} ms` : reasonOf(error, token);
      throw new SharedStoreUnavailable(`The shared store is not available: ${reason}`);
    }
  }
  return {
    get: (key) => told(redis.get<string>(key)),
    async set(key, value, ttlSeconds) {
      await told(redis.set(key, value, { ex: Math.max(1, Math.ceil(ttlSeconds)) }));
    },
    delete: async (keys) => (keys.length === 0 ? 0 : told(redis.del(...keys))),
    async ping() {
      await told(redis.ping());
    },
  };
}
