/** Chooses how Postgres is reached, by its URL. */
import { parseSqlAddress } from './sql-address.ts';
import { type SqlLimits, sqlLimitsDefault } from './sql-connections.ts';
import { createNeonSql, isNeonHost } from './sql-neon.ts';
import { type ClosableSql, createTcpSql } from './sql-tcp.ts';

/** How to reach Postgres. */
export interface SqlOptions extends Partial<SqlLimits> {
  /** `postgres://user:password@host:port/database`. A host of Neon's is reached through Neon's driver. */
  readonly databaseUrl: string;
  /** True where a connection cannot outlive the request that opened it (Workers). */
  readonly perCall: boolean;
  /** `host:port` of a proxy that speaks Neon's protocols: Neon's driver is then used whatever the host. For tests. */
  readonly neonProxy?: string;
}

/** The port `Sql` for `databaseUrl`. Connects when first used. Throws a `TypeError` where the URL is none. */
export function createSql(options: SqlOptions): ClosableSql {
  const { databaseUrl, perCall, neonProxy = null } = options;
  const limits = {
    connectTimeoutMs: options.connectTimeoutMs ?? sqlLimitsDefault.connectTimeoutMs,
    statementTimeoutMs: options.statementTimeoutMs ?? sqlLimitsDefault.statementTimeoutMs,
  };
  const viaNeon = neonProxy !== null || isNeonHost(parseSqlAddress(databaseUrl).host);
  return viaNeon ? createNeonSql(databaseUrl, perCall, limits, neonProxy) : createTcpSql(databaseUrl, perCall, limits);
}
