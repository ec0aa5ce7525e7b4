/** What every adapter of the port `Sql` must do, whatever the driver and the server. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClosableSql } from '../../functions/platforms/sql-tcp.ts';
import { SqlError, SqlUnavailable } from '../../functions/ports.ts';
import { alder, birch, type TestDatabase } from './databases.ts';

/** One adapter on one server. `open` is called once; what it opens beside the adapter is closed by `close`. */
export interface SqlCase {
  readonly name: string;
  start(): Promise<TestDatabase>;
  open(database: TestDatabase): Promise<{ sql: ClosableSql; close(): Promise<void> }>;
}

const insertUsage = `insert into treeline.usage (tenant_id, operation, model, latency_ms) values ($1, $2, 'm', 1)`;
/** Milliseconds that a statement may run in these tests. */
export const statementTimeoutMs = 1_000;

/** Declares the tests for `each`. */
export function sqlSuite(each: SqlCase): void {
  describe(each.name, () => {
    let database: TestDatabase;
    let sql: ClosableSql;
    let closeRest: () => Promise<void>;

    beforeAll(async () => {
      database = await each.start();
      ({ sql, close: closeRest } = await each.open(database));
    });

    afterAll(async () => {
      await sql.close();
      await closeRest();
      await database.remove();
    });

    const count = (tenant: string, operation: string) =>
      sql.asTenant(tenant, async (transaction) => {
        const text = 'select count(*)::int as count from treeline.usage where operation = $1';
        const [row] = await transaction.query<{ count: number }>(text, [operation]);
        return row?.count;
      });

    it('acts as the edge, whoever it connected as', async () => {
      expect(await sql.query('select current_user::text as role')).toEqual([{ role: 'treeline_edge' }]);
      const rows = await sql.asTenant(alder.id, (transaction) =>
        transaction.query('select current_user::text as role'),
      );
      expect(rows).toEqual([{ role: 'treeline_edge' }]);
    });

    it('finds the tenant of a key', async () => {
      const text = 'select tenant_id, tenant_name from treeline.authenticate($1)';
      expect(await sql.query(text, [alder.keyHash])).toEqual([{ tenant_id: alder.id, tenant_name: alder.name }]);
      expect(await sql.query(text, ['0'.repeat(64)])).toEqual([]);
    });

    it('keeps each tenant to its own rows, without a where clause', async () => {
      await sql.asTenant(alder.id, (transaction) => transaction.query(insertUsage, [alder.id, 'kept apart']));
      expect(await count(alder.id, 'kept apart')).toBe(1);
      expect(await count(birch.id, 'kept apart')).toBe(0);
      const text = 'select distinct tenant_id from treeline.usage';
      expect(await sql.asTenant(alder.id, (transaction) => transaction.query(text))).toEqual([{ tenant_id: alder.id }]);
    });

    it('refuses a row for another tenant', async () => {
      const stolen = sql.asTenant(alder.id, (transaction) => transaction.query(insertUsage, [birch.id, 'stolen']));
      await expect(stolen).rejects.toMatchObject({ name: 'SqlError', code: '42501' });
      expect(await count(birch.id, 'stolen')).toBe(0);
    });

    it('sees nothing where no tenant was named, also on a connection that had one before', async () => {
      await sql.asTenant(alder.id, (transaction) => transaction.query(insertUsage, [alder.id, 'before']));
      expect(await sql.query('select * from treeline.usage')).toEqual([]);
    });

    it('refuses what names no tenant at all', async () => {
      for (const odd of ['', 'alder', `${alder.id}' or true --`]) {
        await expect(async () => sql.asTenant(odd, async () => 1)).rejects.toThrow(TypeError);
      }
    });

    it('undoes everything where the work fails', async () => {
      const work = sql.asTenant(alder.id, async (transaction) => {
        await transaction.query(insertUsage, [alder.id, 'undone']);
        throw new Error('changed my mind');
      });
      await expect(work).rejects.toThrow('changed my mind');
      expect(await count(alder.id, 'undone')).toBe(0);
    });

    it('says so where a failed transaction was taken for a good one', async () => {
      const work = sql.asTenant(alder.id, async (transaction) => {
        await transaction.query(insertUsage, [alder.id, 'swallowed']);
        await transaction.query('select 1/0').catch(() => undefined);
      });
      await expect(work).rejects.toMatchObject({ name: 'SqlError', code: '25P02' });
      expect(await count(alder.id, 'swallowed')).toBe(0);
    });

    it('tells an error by its SQLSTATE, and goes on', async () => {
      await expect(sql.query('select * from nowhere')).rejects.toMatchObject({ name: 'SqlError', code: '42P01' });
      await expect(sql.query('select $1::int', ['many'])).rejects.toBeInstanceOf(SqlError);
      expect(await sql.query('select 1 as one')).toEqual([{ one: 1 }]);
    });

    it('ends a statement that takes too long', async () => {
      const begun = performance.now();
      await expect(sql.query('select pg_sleep(30)')).rejects.toBeInstanceOf(SqlUnavailable);
      expect(performance.now() - begun).toBeLessThan(4 * statementTimeoutMs);
      expect(await sql.query('select 1 as one')).toEqual([{ one: 1 }]);
    });

    it('serves many at once, each with its own tenant', async () => {
      const tenants = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? alder : birch));
      const seen = await Promise.all(
        tenants.map(({ id }) =>
          sql.asTenant(id, async (transaction) => {
            await transaction.query('select pg_sleep(0.005)');
            const [row] = await transaction.query('select treeline.current_tenant() as tenant');
            return row?.tenant;
          }),
        ),
      );
      expect(seen).toEqual(tenants.map(({ id }) => id));
    });

    it('gives values back as they were: text, numbers, JSON, bytes, moments, null', async () => {
      const at = new Date('2026-02-03T04:05:06.789Z');
      const text = `select $1::text as text, $2::int as number, $3::jsonb as json, $4::timestamptz as at, $5::text as none,
        encode($6::bytea, 'hex') as bytes`;
      const values = ['äß \u{1f332} \' "', -7, JSON.stringify({ deep: [1, null] }), at, null, Buffer.from([0, 255])];
      const [row] = await sql.query(text, values);
      expect(row).toEqual({
        text: 'äß \u{1f332} \' "',
        number: -7,
        json: { deep: [1, null] },
        at,
        none: null,
        bytes: '00ff',
      });
    });
  });
}
