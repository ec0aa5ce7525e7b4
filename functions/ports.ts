/**
 * What the capabilities need from the world, as small interfaces. A file in `platforms/` supplies them for one host;
 * nothing else in `functions/` knows which host it runs on. Time and randomness are ports too, so that a test can
 * replay a decision with the same inputs.
 */

/** Time. The only two clocks that the product reads. */
export interface Clock {
  /** Milliseconds since the Unix epoch, for timestamps and expiry. */
  now(): number;
  /** Milliseconds from an arbitrary origin, never backwards, for durations. */
  elapsed(): number;
}

/** Randomness from the host's cryptographic source. */
export interface Random {
  /** Fills and returns a new array of `length` random bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1). */
  fraction(): number;
}

/** One row as the driver returns it: column name to value. */
export type SqlRow = Record<string, unknown>;

/** A connection inside a transaction. Parameters are `$1`, `$2`, …; values are never spliced into the text. */
export interface SqlTransaction {
  query<Row extends SqlRow = SqlRow>(text: string, parameters?: readonly unknown[]): Promise<Row[]>;
}

/** Postgres, reached as the role `treeline_edge`, which row level security binds. */
export interface Sql {
  /** Runs `work` in one transaction in which the database itself restricts every row to `tenantId` (a UUID). */
  asTenant<Result>(tenantId: string, work: (transaction: SqlTransaction) => Promise<Result>): Promise<Result>;
  /** Runs one statement without a tenant: only functions granted to `treeline_edge` for that purpose are reachable. */
  query<Row extends SqlRow = SqlRow>(text: string, parameters?: readonly unknown[]): Promise<Row[]>;
}

/** Postgres could not be reached, or did not answer in time. Everything else that goes wrong is a `SqlError`. */
export class SqlUnavailable extends Error {
  override readonly name = 'SqlUnavailable';
}

/** Postgres answered with an error; `code` is its SQLSTATE, such as `23505`. */
export class SqlError extends Error {
  override readonly name = 'SqlError';
  readonly code: string;
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The shared store behind the isolates' own memory (Redis). It may lose what it acknowledged; nothing relies on it. */
export interface SharedStore {
  /** The value under `key`, or null where there is none or it has expired. */
  get(key: string): Promise<string | null>;
  /** Stores `value` under `key` for `ttlSeconds` (at least 1). */
  set(key: string, value: string, ttlSeconds: number): Promise<void>;
  /** Removes `keys`; returns how many were there. */
  delete(keys: readonly string[]): Promise<number>;
  /** Answers when the store does; throws when it does not. */
  ping(): Promise<void>;
}

/** Large immutable files: model weights. */
export interface ObjectStore {
  /** Opens the object `name` as a stream of its bytes, or null where there is none. */
  open(name: string): Promise<ReadableStream<Uint8Array> | null>;
}

/** Names of the WebAssembly modules that the product ships. */
export type WasmModuleName = 'inference' | 'cache' | 'routing' | 'analytics' | 'search';

/** Compiled WebAssembly modules, however the host loads them. Where a host has relaxed SIMD, it picks that build. */
export interface WasmModules {
  compiled(name: WasmModuleName): Promise<WebAssembly.Module>;
}

/** Work that may outlive the answer: the host keeps the isolate alive for it. */
export interface Background {
  /** Keeps `work` running after the response. `work` must not reject in silence: log its errors inside. */
  run(work: Promise<unknown>): void;
}

/**
 * State that must exist once, by name, across all isolates: a Durable Object on Workers, a leased row in Postgres
 * elsewhere. `state` is what the holder stored last, or null at first.
 */
export interface Singletons {
  /** Runs `change` alone among all callers that use the same `name`, and stores what it returns. */
  update<State, Result>(
    name: string,
    change: (state: State | null) => { state: State; result: Result },
  ): Promise<Result>;
}

/** Entries of a search's log that one reading gives at most. */
export const searchEntriesEachMax = 100;

/** One durable search: whose it is, and which one. Both are UUIDs. */
export interface SearchKey {
  readonly tenantId: string;
  readonly id: string;
}

/** The log of one search. Entries are texts in JSON; what they say is not the host's business. */
export interface SearchJournal {
  /**
   * The entries from number `after` on, counted from 0, up to `searchEntriesEachMax`: at once where there are any, else
   * as soon as one comes, or none after `waitMs`. Null where there is no such search.
   */
  read(after: number, waitMs: number): Promise<string[] | null>;
  /**
   * Adds entries where the log has `length` of them, and keeps whether the search is to go on; false where the log has
   * another length. A driver whose turn was taken by another gets `SearchJournalLost`.
   */
  append(length: number, entries: readonly string[], isRunning: boolean): Promise<boolean>;
}

/** Another driver has taken the search up; this one is to stop, and writes nothing any more. */
export class SearchJournalLost extends Error {
  override readonly name = 'SearchJournalLost';
}

/** Carries a search on until it is done or `signal` aborts. */
export type SearchDriver = (
  key: SearchKey,
  journal: SearchJournal,
  background: Background,
  signal: AbortSignal,
) => Promise<void>;

/** Searches that outlive requests and isolates: a Durable Object each on Workers, rows in Postgres elsewhere. */
export interface Searches {
  /** Keeps a new search. */
  create(key: SearchKey, entries: readonly string[], isRunning: boolean): Promise<void>;
  /** The log of a search, for everyone but its driver. */
  journal(key: SearchKey): SearchJournal;
  /** Sees to it that the search is driven, by one driver at a time. */
  wake(key: SearchKey, background: Background): Promise<void>;
  /** Takes up the tenant's searches whose driver is gone, where the host does not by itself. */
  takeUp(tenantId: string, background: Background): void;
  /** Names the driver; called once, before anything else. */
  drivenBy(drive: SearchDriver): void;
}

/** Verifies a user's JSON Web Token and tells whose it is. Absent where no identity provider is configured. */
export interface Identity {
  /** The token's claims, or null where the token is not valid. Throws where the keys cannot be had. */
  verify(token: string): Promise<{ subject: string; tenantId: string | null } | null>;
}

/** What a log line holds: a message and fields. No secret is ever put into a field. */
export interface Log {
  write(level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>): void;
}

/** Everything that a host supplies, once per isolate. */
export interface Platform {
  /** The host's name, for telemetry only; no decision reads it. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly sql: Sql;
  /** Null where none is configured: answers then come from the isolate's memory alone. */
  readonly sharedStore: SharedStore | null;
  readonly objects: ObjectStore;
  readonly wasm: WasmModules;
  readonly singletons: Singletons;
  readonly searches: Searches;
  readonly identity: Identity | null;
  readonly log: Log;
  /** `fetch` with the certificate that nodes of the pool ask for; null where they ask for none. */
  readonly poolFetch: typeof fetch | null;
  /** The static embedding model, which ships inside the bundle. */
  staticModel(): Promise<Uint8Array>;
}
