/**
 * The commands of the embedded store: those strings and counters that the product uses, with Redis' own semantics and
 * error texts. It is no Redis: no other types, no scripts, no publish and subscribe, nothing kept on disk.
 */
import { MemoryStore } from './memory-store.ts';
import { bulkReply, type Command, type Executor, errorReply, integerReply, nil, ok, type Reply } from './reply.ts';

interface Handler {
  /** How many parameters it takes, the name not counted. */
  readonly least: number;
  readonly most: number;
  run(parameters: readonly Uint8Array[], store: MemoryStore, now: number): Reply;
}

const syntaxError = errorReply('ERR syntax error');
const notInteger = errorReply('ERR value is not an integer or out of range');
const outOfMemory = errorReply("OOM command not allowed when used memory > 'maxmemory'.");
const unlimited = Number.POSITIVE_INFINITY;
const integerMax = 2n ** 63n - 1n;
const integerMin = -(2n ** 63n);

function keyOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString('latin1');
}

function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString('utf8');
}

/** A signed 64-bit integer as Redis reads one, or null. */
function integerOf(bytes: Uint8Array | undefined): bigint | null {
  const text = textOf(bytes);
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) return null;
  const value = BigInt(text);
  return value > integerMax || value < integerMin ? null : value;
}

interface SetOptions {
  expiresAt: number | null;
  keepExpiry: boolean;
  condition: 'NX' | 'XX' | null;
  returnOld: boolean;
}

/** Reads what follows key and value in a SET. Returns an error reply where it makes no sense. */
function setOptions(parameters: readonly Uint8Array[], now: number): SetOptions | Reply {
  const options: SetOptions = { expiresAt: null, keepExpiry: false, condition: null, returnOld: false };
  for (let index = 0; index < parameters.length; index += 1) {
    const word = textOf(parameters[index]).toUpperCase();
    const expiry = expiryUnits[word];
    if (word === 'NX' || word === 'XX') {
      if (options.condition !== null && options.condition !== word) return syntaxError;
      options.condition = word;
    } else if (word === 'GET') options.returnOld = true;
    else if (word === 'KEEPTTL' && options.expiresAt === null) options.keepExpiry = true;
    else if (expiry !== undefined && options.expiresAt === null && !options.keepExpiry) {
      index += 1;
      if (index >= parameters.length) return syntaxError;
      const amount = integerOf(parameters[index]);
      if (amount === null) return notInteger;
      if (amount <= 0n) return errorReply("ERR invalid expire time in 'set' command");
      options.expiresAt = expiry(Number(amount), now);
    } else return syntaxError;
  }
  return options;
}

const expiryUnits: Record<string, (amount: number, now: number) => number> = {
  EX: (seconds, now) => now + seconds * 1000,
  PX: (milliseconds, now) => now + milliseconds,
  EXAT: (seconds) => seconds * 1000,
  PXAT: (milliseconds) => milliseconds,
};

function set(parameters: readonly Uint8Array[], store: MemoryStore, now: number): Reply {
  const options = setOptions(parameters.slice(2), now);
  if ('kind' in options) return options;
  const key = keyOf(parameters[0]);
  const old = store.get(key, now);
  const refused = options.condition !== null && (options.condition === 'NX') === (old !== null);
  if (!refused) {
    const expiresAt = options.keepExpiry ? (store.expiryOf(key, now) ?? null) : options.expiresAt;
    if (!store.set(key, parameters[1] ?? new Uint8Array(), expiresAt, now)) return outOfMemory;
  }
  if (options.returnOld) return bulkReply(old);
  return refused ? nil : ok;
}

function increment(key: string, by: bigint | null, store: MemoryStore, now: number): Reply {
  const old = store.get(key, now);
  const value = old === null ? 0n : integerOf(old);
  if (value === null || by === null) return notInteger;
  const sum = value + by;
  if (sum > integerMax || sum < integerMin) return errorReply('ERR increment or decrement would overflow');
  const stored = store.set(key, Buffer.from(String(sum)), store.expiryOf(key, now) ?? null, now);
  return stored ? integerReply(sum) : outOfMemory;
}

function expire(unitMs: number): Handler['run'] {
  return ([keyBytes, amountBytes], store, now) => {
    const amount = integerOf(amountBytes);
    if (amount === null) return notInteger;
    return integerReply(store.expireAt(keyOf(keyBytes), now + Number(amount) * unitMs, now));
  };
}

/** Redis' answers for what is not there (-2) and what does not expire (-1); seconds are rounded as Redis does. */
function timeLeft(unitMs: number): Handler['run'] {
  return ([keyBytes], store, now) => {
    const expiresAt = store.expiryOf(keyOf(keyBytes), now);
    if (expiresAt === undefined) return integerReply(-2);
    if (expiresAt === null) return integerReply(-1);
    return integerReply(Math.floor((expiresAt - now + unitMs / 2) / unitMs));
  };
}

function countOf(parameters: readonly Uint8Array[], test: (key: string) => boolean): Reply {
  return integerReply(parameters.filter((bytes) => test(keyOf(bytes))).length);
}

function setWithExpiry(unit: 'EX' | 'PX'): Handler['run'] {
  return ([key, amount, value], store, now) =>
    set(
      [key, value, Buffer.from(unit), amount].filter((part) => part !== undefined),
      store,
      now,
    );
}

const remove: Handler = {
  least: 1,
  most: unlimited,
  run: (parameters, store, now) => countOf(parameters, (key) => store.delete(key, now)),
};

const flush: Handler = {
  least: 0,
  most: 1,
  run(_, store) {
    store.clear();
    return ok;
  },
};

const handlers: Record<string, Handler> = {
  PING: { least: 0, most: 1, run: ([text]) => (text ? bulkReply(text) : { kind: 'status', text: 'PONG' }) },
  ECHO: { least: 1, most: 1, run: ([text]) => bulkReply(text ?? null) },
  GET: { least: 1, most: 1, run: ([key], store, now) => bulkReply(store.get(keyOf(key), now)) },
  SET: { least: 2, most: unlimited, run: set },
  SETEX: { least: 3, most: 3, run: setWithExpiry('EX') },
  PSETEX: { least: 3, most: 3, run: setWithExpiry('PX') },
  SETNX: {
    least: 2,
    most: 2,
    run: (parameters, store, now) => integerReply(set([...parameters, Buffer.from('NX')], store, now) === ok),
  },
  MGET: {
    least: 1,
    most: unlimited,
    run: (keys, store, now) => ({ kind: 'array', items: keys.map((key) => bulkReply(store.get(keyOf(key), now))) }),
  },
  DEL: remove,
  UNLINK: remove,
  EXISTS: {
    least: 1,
    most: unlimited,
    run: (keys, store, now) => countOf(keys, (key) => store.has(key, now)),
  },
  STRLEN: { least: 1, most: 1, run: ([key], store, now) => integerReply(store.get(keyOf(key), now)?.byteLength ?? 0) },
  INCR: { least: 1, most: 1, run: ([key], store, now) => increment(keyOf(key), 1n, store, now) },
  DECR: { least: 1, most: 1, run: ([key], store, now) => increment(keyOf(key), -1n, store, now) },
  INCRBY: { least: 2, most: 2, run: ([key, by], store, now) => increment(keyOf(key), integerOf(by), store, now) },
  DECRBY: {
    least: 2,
    most: 2,
    run([key, by], store, now) {
      const amount = integerOf(by);
      return increment(keyOf(key), amount === null ? null : -amount, store, now);
    },
  },
  EXPIRE: { least: 2, most: 2, run: expire(1000) },
  PEXPIRE: { least: 2, most: 2, run: expire(1) },
  PERSIST: {
    least: 1,
    most: 1,
    run([keyBytes], store, now) {
      const key = keyOf(keyBytes);
      const expires = typeof store.expiryOf(key, now) === 'number';
      return integerReply(expires && store.expireAt(key, null, now));
    },
  },
  TTL: { least: 1, most: 1, run: timeLeft(1000) },
  PTTL: { least: 1, most: 1, run: timeLeft(1) },
  TYPE: {
    least: 1,
    most: 1,
    run: ([key], store, now) => ({ kind: 'status', text: store.has(keyOf(key), now) ? 'string' : 'none' }),
  },
  DBSIZE: { least: 0, most: 0, run: (_, store, now) => integerReply(store.count(now)) },
  FLUSHALL: flush,
  FLUSHDB: flush,
  INFO: {
    least: 0,
    most: unlimited,
    run: (_, store, now) =>
      bulkReply(
        `# Server\r\nredis_version:treeline-memory\r\n# Memory\r\nused_memory:${store.bytes}\r\n` +
          `# Stats\r\nevicted_keys:${store.evictions}\r\n# Keyspace\r\ndb0:keys=${store.count(now)}\r\n`,
      ),
  },
};

/** The names of the commands that the embedded store has. */
export const commandNames = Object.keys(handlers);

function run(command: Command, store: MemoryStore, now: number): Reply {
  const [nameBytes, ...parameters] = command;
  const name = textOf(nameBytes).toUpperCase();
  const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
  if (handler === undefined) {
    const shown = name.slice(0, 64);
    return errorReply(`ERR unknown command '${shown}': the embedded store has only ${commandNames.join(', ')}`);
  }
  if (parameters.length < handler.least || parameters.length > handler.most)
    return errorReply(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
  return handler.run(parameters, store, now);
}

/** Commands on a store in this process's memory, bounded by `bytesMax`. `now` gives milliseconds since the epoch. */
export function createMemoryExecutor(bytesMax: number, now: () => number): Executor {
  const store = new MemoryStore(bytesMax);
  return {
    execute: async (command) => run(command, store, now()),
    // Nothing else runs in between: there is no await.
    async executeTogether(commands) {
      const at = now();
      return commands.map((command) => run(command, store, at));
    },
    close: async () => store.clear(),
  };
}
