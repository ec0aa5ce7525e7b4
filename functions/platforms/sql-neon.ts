/**
 * The port `Sql` for Neon, by its serverless driver: a single statement in one HTTP request, a transaction over a
 * WebSocket. Both get through where a host has no TCP.
 */
import { Client, neon, neonConfig, Pool } from '@neondatabase/serverless';
import type { Sql, SqlRow } from '../ports.ts';
import { parseSqlAddress } from './sql-address.ts';
import {
  answerGraceMs,
  type SqlLimits,
  settingsText,
  settingsValues,
  sqlOverConnections,
  within,
} from './sql-connections.ts';
import {
  connectionsFromPool,
  connectionsPerCall,
  driverOptions,
  poolConnectionsMax,
  poolIdleMs,
} from './sql-drivers.ts';
import { statementError } from './sql-errors.ts';
import type { ClosableSql } from './sql-tcp.ts';

/** Whether `host` is one of Neon's own. */
export function isNeonHost(host: string): boolean {
  return host.endsWith('.neon.tech');
}

/**
 * Points the driver at a proxy that speaks Neon's protocols without TLS, for tests: `origin` is its `host:port`. The
 * driver keeps this setting for all connections of the isolate.
 */
function useProxy(origin: string): void {
  neonConfig.fetchEndpoint = () => `http://${origin}/sql`;
  neonConfig.wsProxy = (host, port) => `${origin}/v1?address=${host}:${port}`;
  neonConfig.useSecureWebSocket = false;
  neonConfig.pipelineTLS = false;
  // The shortcut sends the password unasked and in clear, which only Neon's own proxy, behind TLS, expects.
  neonConfig.pipelineConnect = false;
}

/**
 * A WebSocket that drops what is sent while it is not open. The driver says goodbye from a timer, also to a server that
 * never answered; the standard class throws there, where nobody can catch it, and that ends a process. A statement
 * cannot get lost in silence: a socket that closes fails all that waits for its answers.
 */
function forgivingWebSocket(): typeof WebSocket {
  return class extends WebSocket {
    override send(data: Parameters<WebSocket['send']>[0]): void {
      if (this.readyState === WebSocket.OPEN) super.send(data);
    }
  };
}

/** One statement as `treeline_edge`, in one request: Neon runs both in one transaction. */
function queryOverHttp(url: string, limits: SqlLimits, secrets: readonly string[]): Sql['query'] {
  const http = neon(url, { fullResults: true });
  return async <Row extends SqlRow>(text: string, parameters: readonly unknown[] = []): Promise<Row[]> => {
    const limitMs = limits.connectTimeoutMs + limits.statementTimeoutMs + answerGraceMs;
    const settings = http.query(settingsText, settingsValues(null, limits));
    const statements = [settings, http.query(text, [...parameters])];
    const abort = new AbortController();
    try {
      const sent = http.transaction(statements, { fetchOptions: { signal: abort.signal } });
      const results = await within(limitMs, 'answer', sent);
      return (results.at(-1)?.rows ?? []) as Row[];
    } catch (error) {
      throw statementError(error, secrets);
    } finally {
      abort.abort();
    }
  };
}

/** As `createTcpSql`, for a Neon URL. `proxy`: `host:port` of a local stand-in for Neon's endpoints. */
export function createNeonSql(
  databaseUrl: string,
  perCall: boolean,
  limits: SqlLimits,
  proxy: string | null,
): ClosableSql {
  const address = parseSqlAddress(databaseUrl);
  neonConfig.webSocketConstructor ??= forgivingWebSocket();
  if (proxy !== null) useProxy(proxy);
  const options = driverOptions(address.url, limits);
  const connections = perCall
    ? connectionsPerCall(() => new Client(options))
    : connectionsFromPool(new Pool({ ...options, max: poolConnectionsMax, idleTimeoutMillis: poolIdleMs }));
  const { asTenant } = sqlOverConnections(connections.acquire, limits, address.secrets);
  return { asTenant, query: queryOverHttp(address.url, limits, address.secrets), close: connections.close };
}
