import { describe, it } from 'vitest';
import { createSql } from '../../functions/platforms/sql-select.ts';
import { debianBinaries, startDatabase } from './databases.ts';
import { startNeonProxy } from './neon-proxy.ts';
import { type SqlCase, sqlSuite, statementTimeoutMs } from './sql-suite.ts';

const debian = await debianBinaries();
const nothing = async () => undefined;
// Generous where it is not what is tested: the machine may be busy with other tests.
const limits = { connectTimeoutMs: 20_000, statementTimeoutMs };

function overTcp(perCall: boolean): SqlCase['open'] {
  return async ({ url }) => ({ sql: createSql({ databaseUrl: url, perCall, ...limits }), close: nothing });
}

function overNeon(perCall: boolean): SqlCase['open'] {
  return async ({ url }) => {
    const proxy = await startNeonProxy(url);
    const sql = createSql({ databaseUrl: url, perCall, ...limits, neonProxy: proxy.origin });
    return { sql, close: proxy.close };
  };
}

const embedded = () => startDatabase();
sqlSuite({ name: 'embedded PostgreSQL, pool', start: embedded, open: overTcp(false) });
sqlSuite({ name: 'embedded PostgreSQL, a connection a call', start: embedded, open: overTcp(true) });
sqlSuite({ name: "embedded PostgreSQL, Neon's driver, pool", start: embedded, open: overNeon(false) });
sqlSuite({ name: "embedded PostgreSQL, Neon's driver, a connection a call", start: embedded, open: overNeon(true) });

if (typeof debian === 'string') {
  describe.skip(`PostgreSQL 15: ${debian}`, () => it('is tested where it can be installed', () => undefined));
} else {
  sqlSuite({ name: 'PostgreSQL 15, pool', start: () => startDatabase(debian), open: overTcp(false) });
  sqlSuite({ name: 'PostgreSQL 15, a connection a call', start: () => startDatabase(debian), open: overTcp(true) });
  sqlSuite({ name: "PostgreSQL 15, Neon's driver", start: () => startDatabase(debian), open: overNeon(true) });
}
