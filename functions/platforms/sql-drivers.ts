/**
 * Connections of a driver with node-postgres' interface, which Neon's has too: from a pool where a connection may live
 * on, or a new one for each transaction where it must not.
 */

import type { SqlRow } from '../ports.ts';
import { answerGraceMs, type SqlConnection, type SqlLimits } from './sql-connections.ts';

interface DriverResult {
  readonly rows: unknown[];
  readonly command: string;
}

interface DriverClient {
  connect(): Promise<unknown>;
  query(text: string, parameters?: unknown[]): Promise<DriverResult>;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

interface DriverPoolClient extends Pick<DriverClient, 'query'> {
  release(destroy?: boolean): void;
}

interface DriverPool {
  connect(): Promise<DriverPoolClient>;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'connect', listener: (client: Pick<DriverClient, 'on'>) => void): unknown;
}

/** What both drivers' constructors take. */
export interface DriverOptions {
  readonly connectionString: string;
  readonly connectionTimeoutMillis: number;
  readonly query_timeout: number;
  readonly application_name: string;
}

/** A way to open connections, and to close those that are kept. */
export interface Connections {
  acquire(): Promise<SqlConnection>;
  close(): Promise<void>;
}

/** Connections that a pool keeps at most. */
export const poolConnectionsMax = 8;
/** Milliseconds after which an unused connection is closed: sooner than the servers' own limits. */
export const poolIdleMs = 30_000;

/** What to give to a driver's constructor. */
export function driverOptions(url: string, limits: SqlLimits): DriverOptions {
  return {
    connectionString: url,
    connectionTimeoutMillis: limits.connectTimeoutMs,
    query_timeout: limits.statementTimeoutMs + answerGraceMs,
    application_name: 'treeline-edge',
  };
}

async function ask(client: Pick<DriverClient, 'query'>, text: string, parameters: readonly unknown[] = []) {
  const { rows, command } = await client.query(text, [...parameters]);
  return { rows: rows as SqlRow[], command };
}

// A connection that breaks while nobody waits for it reports here; without a listener that would end the process. The
// next statement on it fails with the same error, which is then told.
const ignored = () => undefined;

/** A new connection for each transaction, closed with it. For hosts where a connection ends with its request. */
export function connectionsPerCall(makeClient: () => DriverClient): Connections {
  return {
    async acquire() {
      const client = makeClient();
      client.on('error', ignored);
      try {
        await client.connect();
      } catch (error) {
        await client.end().catch(ignored);
        throw error;
      }
      return {
        query: (text, parameters) => ask(client, text, parameters),
        // Not awaited: the goodbye reaches the server or it does not; the answer need not wait for it.
        release: async () => void client.end().catch(ignored),
      };
    },
    close: async () => undefined,
  };
}

/** Connections from `pool`, which keeps some open between transactions. */
export function connectionsFromPool(pool: DriverPool): Connections {
  pool.on('error', ignored);
  // The pool listens only while a connection lies idle in it.
  pool.on('connect', (client) => client.on('error', ignored));
  return {
    async acquire() {
      const client = await pool.connect();
      return {
        query: (text, parameters) => ask(client, text, parameters),
        release: async (broken) => client.release(broken),
      };
    },
    close: () => pool.end(),
  };
}
