/** The product's ports over this process's memory, each with a switch for what can go wrong, for tests. */
import type {
  Background,
  Clock,
  Log,
  Random,
  Searches,
  SharedStore,
  Sql,
  SqlRow,
  SqlTransaction,
  WasmModules,
} from '../../functions/ports.ts';
import { repositoryFile } from '../wasm/modules.ts';

/** A clock that moves only when told to. Both of its readings move together. */
export class ManualClock implements Clock {
  #now: number;

  constructor(startMs = Date.UTC(2026, 10, 1)) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

/** The same numbers for the same seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(fraction() * 256)) };
}

/** One line of a `MemoryLog`. */
export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** Keeps what is logged. */
export class MemoryLog implements Log {
  readonly lines: LogLine[] = [];

  write(level: LogLine['level'], message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push({ level, message, fields });
  }
}

/** Keeps background work, so that a test can wait for it. */
export class MemoryBackground implements Background {
  readonly #works: Promise<unknown>[] = [];

  run(work: Promise<unknown>): void {
    this.#works.push(work);
  }

  /** Waits for everything that was handed over, and for what that hands over in turn. */
  async settle(): Promise<void> {
    while (this.#works.length > 0) await Promise.all(this.#works.splice(0));
  }
}

/** Redis as a map; expiry by the clock. `failWith` makes every call fail until it is null again. */
export class MemoryStore implements SharedStore {
  readonly entries = new Map<string, { value: string; until: number }>();
  readonly calls: string[] = [];
  failWith: Error | null = null;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async get(key: string): Promise<string | null> {
    this.#begin('get');
    const entry = this.entries.get(key);
    return entry === undefined || entry.until <= this.#clock.now() ? null : entry.value;
  }

  async set(key: string, value: string, ttlSeconds: number): Promise<void> {
    this.#begin('set');
    this.entries.set(key, { value, until: this.#clock.now() + ttlSeconds * 1e3 });
  }

  async delete(keys: readonly string[]): Promise<number> {
    this.#begin('delete');
    return keys.filter((key) => this.entries.delete(key)).length;
  }

  async ping(): Promise<void> {
    this.#begin('ping');
  }

  #begin(operation: string): void {
    this.calls.push(operation);
    if (this.failWith !== null) throw this.failWith;
  }
}

/** One statement as a `ScriptedSql` saw it; `tenantId` is null outside a tenant's transaction. */
export interface Statement {
  readonly tenantId: string | null;
  readonly text: string;
  readonly parameters: readonly unknown[];
}

/** Answers statements by a function that the test gives, and keeps them. The function may throw what a driver would. */
export class ScriptedSql implements Sql {
  readonly statements: Statement[] = [];
  answer: (statement: Statement) => SqlRow[] | Promise<SqlRow[]>;

  constructor(answer: (statement: Statement) => SqlRow[] | Promise<SqlRow[]> = () => []) {
    this.answer = answer;
  }

  asTenant<Result>(tenantId: string, work: (transaction: SqlTransaction) => Promise<Result>): Promise<Result> {
    return work({ query: (text, parameters) => this.#run(tenantId, text, parameters) });
  }

  query<Row extends SqlRow>(text: string, parameters?: readonly unknown[]): Promise<Row[]> {
    return this.#run(null, text, parameters);
  }

  async #run<Row extends SqlRow>(
    tenantId: string | null,
    text: string,
    parameters: readonly unknown[] = [],
  ): Promise<Row[]> {
    const statement = { tenantId, text, parameters };
    this.statements.push(statement);
    return (await this.answer(statement)) as Row[];
  }
}

/** The committed modules of TinyGo, compiled by this process. */
export const goModules: WasmModules = {
  async compiled(name) {
    return new WebAssembly.Module(repositoryFile(`wasm-go/dist/${name}.wasm`));
  },
};

/** A host that keeps no searches. */
export const noSearches: Searches = {
  create: () => Promise.reject(new Error('no searches are kept here')),
  journal: () => ({ read: async () => null, append: async () => false }),
  wake: async () => {},
  takeUp: () => {},
  drivenBy: () => {},
};
