/**
 * The port `Sql` over connections of whatever driver: each piece of work in one transaction, as the role
 * `treeline_edge`, bound to its tenant, and within a time limit. The drivers' own files only open connections.
 */
import { type Sql, SqlError, type SqlRow, type SqlTransaction, SqlUnavailable } from '../ports.ts';
import { connectionError, statementError } from './sql-errors.ts';

/** A statement's answer, as far as the port needs it. */
export interface StatementResult {
  readonly rows: SqlRow[];
  /** The command as the server names it, such as `SELECT`. */
  readonly command: string;
}

/** A connection, used by one transaction at a time. */
export interface SqlConnection {
  query(text: string, parameters?: readonly unknown[]): Promise<StatementResult>;
  /** Hands it back. `broken`: it is not fit for another transaction, and is closed. */
  release(broken: boolean): Promise<void>;
}

/** How long anything may take. */
export interface SqlLimits {
  /** Milliseconds until a connection must be there. */
  readonly connectTimeoutMs: number;
  /** Milliseconds that one statement may run. */
  readonly statementTimeoutMs: number;
}

/** Bounds that hold where a caller names none. */
export const sqlLimitsDefault: SqlLimits = { connectTimeoutMs: 5_000, statementTimeoutMs: 5_000 };

/** The server ends a slow statement itself; only when it does not, this much later, do we give the connection up. */
export const answerGraceMs = 1_000;

/** A transaction of an isolate that was stopped in the middle ends by itself after this many statement timeouts. */
const idleTimeouts = 3;

const tenantPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Throws where `tenantId` is no UUID: the database would refuse it too, but later and less clearly. */
export function checkTenantId(tenantId: string): void {
  if (!tenantPattern.test(tenantId)) throw new TypeError('A tenant is named by a UUID.');
}

/**
 * Rejects with `SqlUnavailable` where `work` takes longer than `limitMs`. What `work` still brings afterwards goes to
 * `late`, so that a connection that comes too late is closed.
 */
export async function within<Result>(
  limitMs: number,
  what: string,
  work: Promise<Result>,
  late: (result: Result) => void = () => undefined,
): Promise<Result> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let expired = false;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      expired = true;
      reject(new SqlUnavailable(`Postgres: no ${what} within ${limitMs} ms`));
    }, limitMs);
  });
  work.then(
    (result) => {
      if (expired) late(result);
    },
    () => undefined,
  );
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a transaction is set to before anything else, all for its own time only, in one statement. */
export const settingsText = `select
  set_config('role', 'treeline_edge', true),
  set_config('treeline.tenant_id', $1, true),
  set_config('statement_timeout', $2, true),
  set_config('idle_in_transaction_session_timeout', $3, true)`;

/** The values of `settingsText`; a transaction without a tenant sees no rows at all. */
export function settingsValues(tenantId: string | null, { statementTimeoutMs }: SqlLimits): string[] {
  const milliseconds = Math.ceil(statementTimeoutMs);
  return [tenantId ?? '', String(milliseconds), String(milliseconds * idleTimeouts)];
}

/** Makes the port out of `acquire`, which opens a connection or takes one from a pool. */
export function sqlOverConnections(
  acquire: () => Promise<SqlConnection>,
  limits: SqlLimits,
  secrets: readonly string[],
): Sql {
  async function open(): Promise<SqlConnection> {
    const discard = (connection: SqlConnection) => void connection.release(true).catch(() => undefined);
    try {
      return await within(limits.connectTimeoutMs, 'connection', acquire(), discard);
    } catch (error) {
      throw connectionError(error, secrets);
    }
  }

  /** One transaction, bound to `tenantId`. */
  async function transact<Result>(
    tenantId: string | null,
    work: (run: SqlConnection['query']) => Promise<Result>,
  ): Promise<Result> {
    const connection = await open();
    let broken = false;
    const run: SqlConnection['query'] = async (text, parameters) => {
      try {
        const limitMs = limits.statementTimeoutMs + answerGraceMs;
        return await within(limitMs, 'answer', connection.query(text, parameters));
      } catch (error) {
        const told = statementError(error, secrets);
        broken ||= told instanceof SqlUnavailable;
        throw told;
      }
    };
    try {
      // Not both in one message: what stands between (a pooler, Hyperdrive) follows transactions by their statements.
      await run('begin');
      await run(settingsText, settingsValues(tenantId, limits));
      const result = await work(run);
      await commit(run);
      return result;
    } catch (error) {
      // Where even that fails, the connection is broken, and closing it ends the transaction.
      if (!broken) await run('rollback').catch(() => undefined);
      throw error;
    } finally {
      await connection.release(broken).catch(() => undefined);
    }
  }

  return {
    asTenant<Result>(tenantId: string, work: (transaction: SqlTransaction) => Promise<Result>): Promise<Result> {
      checkTenantId(tenantId);
      return transact(tenantId, (run) =>
        work({
          async query<Row extends SqlRow>(text: string, parameters: readonly unknown[] = []): Promise<Row[]> {
            return (await run(text, parameters)).rows as Row[];
          },
        }),
      );
    },
    async query<Row extends SqlRow>(text: string, parameters: readonly unknown[] = []): Promise<Row[]> {
      return (await transact(null, (run) => run(text, parameters))).rows as Row[];
    },
  };
}

/** Postgres answers `commit` of a failed transaction with ROLLBACK and no error; the caller must learn of it. */
async function commit(run: SqlConnection['query']): Promise<void> {
  const { command } = await run('commit');
  if (command !== 'COMMIT') throw new SqlError('The transaction had failed before, and was rolled back.', '25P02');
}
