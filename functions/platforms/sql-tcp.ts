/** The port `Sql` over TCP, by node-postgres: any PostgreSQL, Supabase, and Hyperdrive's connection strings. */
import pg from 'pg';
import type { Sql } from '../ports.ts';
import { parseSqlAddress } from './sql-address.ts';
import { type SqlLimits, sqlOverConnections } from './sql-connections.ts';
import {
  connectionsFromPool,
  connectionsPerCall,
  driverOptions,
  poolConnectionsMax,
  poolIdleMs,
} from './sql-drivers.ts';

/** A port with connections that can be closed. */
export type ClosableSql = Sql & { close(): Promise<void> };

/**
 * Opens nothing yet; the first work does. `perCall`: each transaction has a connection of its own, for hosts where a
 * connection cannot outlive its request. Throws a `TypeError` where the URL is none.
 */
export function createTcpSql(databaseUrl: string, perCall: boolean, limits: SqlLimits): ClosableSql {
  const address = parseSqlAddress(databaseUrl);
  const options = driverOptions(address.url, limits);
  const connections = perCall
    ? connectionsPerCall(() => new pg.Client(options))
    : connectionsFromPool(new pg.Pool({ ...options, max: poolConnectionsMax, idleTimeoutMillis: poolIdleMs }));
  const sql = sqlOverConnections(connections.acquire, limits, address.secrets);
  return { ...sql, close: connections.close };
}
