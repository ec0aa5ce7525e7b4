/** A database that is down at the start, goes away in the middle, or stops answering: told in time, and got over. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSql } from '../../functions/platforms/sql-select.ts';
import { createSqlSingletons } from '../../functions/platforms/sql-singletons.ts';
import type { ClosableSql } from '../../functions/platforms/sql-tcp.ts';
import { SqlUnavailable } from '../../functions/ports.ts';
import { freePort } from '../../infra/local/ports.ts';
import { type Breakable, startBreakable } from './breakable.ts';
import { alder, startDatabase, type TestDatabase } from './databases.ts';
import { type NeonProxy, startNeonProxy } from './neon-proxy.ts';

const limits = { connectTimeoutMs: 1_000, statementTimeoutMs: 500 };
/** The adapter's grace after a statement's own limit, and time for this machine to be busy. */
const toldWithinMs = 1_000 + 500 + 1_000 + 1_500;
const recoversWithinMs = 10_000;

async function told(work: Promise<unknown>): Promise<{ error: unknown; elapsedMs: number }> {
  const begun = performance.now();
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return { error, elapsedMs: performance.now() - begun };
}

async function expectUnavailable(work: Promise<unknown>): Promise<void> {
  const { error, elapsedMs } = await told(work);
  expect(error).toBeInstanceOf(SqlUnavailable);
  expect(elapsedMs).toBeLessThan(toldWithinMs);
}

/** A pool may still hold a connection that broke: one failure each is allowed, then all must be well again. */
async function expectRecovery(sql: ClosableSql): Promise<void> {
  await expect
    .poll(() => sql.query('select 1 as one').catch(() => null), { timeout: recoversWithinMs })
    .toEqual([{ one: 1 }]);
  const tenant = () => sql.asTenant(alder.id, (transaction) => transaction.query('select 1 as one'));
  await expect.poll(() => tenant().catch(() => null), { timeout: recoversWithinMs }).toEqual([{ one: 1 }]);
}

describe.each([
  { name: 'TCP, pool', perCall: false, neon: false },
  { name: 'TCP, a connection a call', perCall: true, neon: false },
  { name: "Neon's driver, pool", perCall: false, neon: true },
  { name: "Neon's driver, a connection a call", perCall: true, neon: true },
])('$name', ({ perCall, neon }) => {
  let database: TestDatabase;
  let relay: Breakable;
  let proxy: NeonProxy | null = null;
  let sql: ClosableSql;

  beforeAll(async () => {
    database = await startDatabase();
    proxy = neon ? await startNeonProxy(database.url) : null;
    relay = await startBreakable(proxy === null ? database.port : Number(proxy.origin.split(':')[1]));
    const url = new URL(database.url);
    if (!neon) url.port = String(relay.port);
    const neonProxy = neon ? `127.0.0.1:${relay.port}` : undefined;
    sql = createSql({ databaseUrl: url.href, perCall, neonProxy, ...limits });
  });

  afterAll(async () => {
    await sql.close();
    await relay.close();
    await proxy?.close();
    await database.remove();
  });

  it('is told when it is down at the start, and works once it is up', async () => {
    await relay.become('refuse');
    await expectUnavailable(sql.query('select 1'));
    await expectUnavailable(sql.asTenant(alder.id, async () => 1));
    await relay.become('pass');
    await expectRecovery(sql);
  });

  it('is told when it takes connections and never answers', async () => {
    await relay.become('hang');
    await expectUnavailable(sql.query('select 1'));
    await expectUnavailable(sql.asTenant(alder.id, async () => 1));
    await relay.become('pass');
    await expectRecovery(sql);
  });

  it('is told when it goes away in the middle of a transaction, of which nothing stays', async () => {
    const work = sql.asTenant(alder.id, async (transaction) => {
      await transaction.query(
        "insert into treeline.usage (tenant_id, operation, model, latency_ms) values ($1, 'cut', 'm', 1)",
        [alder.id],
      );
      await relay.become('refuse');
      await transaction.query('select 1');
    });
    await expectUnavailable(work);
    await relay.become('pass');
    await expectRecovery(sql);
    const text = "select count(*)::int as count from treeline.usage where operation = 'cut'";
    const count = () => sql.asTenant(alder.id, (transaction) => transaction.query(text));
    // Asked again where this busy machine does not give a connection in time.
    await expect.poll(() => count().catch(() => null), { timeout: recoversWithinMs }).toEqual([{ count: 0 }]);
  });

  it('gets over a restart of the server itself', async () => {
    await expectRecovery(sql);
    await database.stop();
    await expectUnavailable(sql.query('select 1'));
    await database.start();
    await expectRecovery(sql);
  });

  it('does not give the password away', async () => {
    const wrong = new URL(database.url);
    wrong.password = 'correct-horse';
    const neonProxy = proxy?.origin;
    const other = createSql({ databaseUrl: wrong.href, perCall, neonProxy, ...limits });
    const { error } = await told(other.asTenant(alder.id, async () => 1));
    expect(error).toBeInstanceOf(SqlUnavailable);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('correct-horse');
    await other.close();
  });
});

it('refuses a URL that is none, without repeating it', () => {
  for (const databaseUrl of ['', 'mysql://user:secret@host/x', 'postgres://user:secret@', 'user:secret']) {
    expect(() => createSql({ databaseUrl, perCall: true })).toThrow(/^The database URL must look like/);
  }
});

it('says which address does not answer', async () => {
  const port = await freePort();
  const sql = createSql({ databaseUrl: `postgres://user:secret@127.0.0.1:${port}/x`, perCall: true, ...limits });
  const { error } = await told(sql.query('select 1'));
  expect(String(error)).toContain('ECONNREFUSED');
  expect(String(error)).not.toContain('secret');
});

describe('singletons in Postgres', () => {
  let database: TestDatabase;
  let first: ClosableSql;
  let second: ClosableSql;
  const clock = { now: () => Date.now(), elapsed: () => performance.now() };
  const random = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0.5 };

  beforeAll(async () => {
    database = await startDatabase();
    [first, second] = [
      createSql({ databaseUrl: database.url, perCall: false }),
      createSql({ databaseUrl: database.url, perCall: false }),
    ];
  });

  afterAll(async () => {
    await first.close();
    await second.close();
    await database.remove();
  });

  it('loses no change, whoever makes it', async () => {
    const holders = [first, second].map((sql) => createSqlSingletons(sql, clock, random));
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        holders[index % 2]?.update<number, number>('counter', (state) => ({
          state: (state ?? 0) + 1,
          result: (state ?? 0) + 1,
        })),
      ),
    );
    expect([...results].sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 60 }, (_, index) => index + 1),
    );
  });

  it('gives the turn on after a change that failed, and keeps the state', async () => {
    const singletons = createSqlSingletons(first, clock, random);
    await singletons.update('fails', () => ({ state: { kept: true }, result: null }));
    const failing = singletons.update('fails', () => {
      throw new Error('no change');
    });
    await expect(failing).rejects.toThrow('no change');
    const begun = performance.now();
    const seen = await singletons.update('fails', (state) => ({ state, result: state }));
    expect(seen).toEqual({ kept: true });
    expect(performance.now() - begun).toBeLessThan(1_000);
  });

  it('passes over a holder that vanished, once its lease has run out', async () => {
    const [lease] = await first.query('select token from treeline.take_singleton($1, $2)', ['vanished', 300]);
    expect(lease).toBeDefined();
    const begun = performance.now();
    const result = await createSqlSingletons(second, clock, random).update('vanished', () => ({
      state: 1,
      result: 'mine',
    }));
    expect(result).toBe('mine');
    expect(performance.now() - begun).toBeGreaterThan(200);
  });
});
