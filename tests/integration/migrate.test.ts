/** The migrations on real servers: applied once however many try, undone where they fail, refused where changed. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createSql } from '../../functions/platforms/sql-select.ts';
import { migrate, migrationsDirectory } from '../../infra/database/migrate.ts';
import { MigrationConflict } from '../../infra/database/migrations.ts';
import { startDatabase, type TestDatabase } from './databases.ts';

let database: TestDatabase;
let folder: string;
let url: string;
let made = 0;

async function ask(address: string, text: string) {
  const client = new pg.Client({ connectionString: address });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.remove());

beforeEach(async () => {
  made += 1;
  const empty = new URL(database.url);
  empty.pathname = `/empty_${made}`;
  await ask(database.url, `create database empty_${made}`);
  url = empty.href;
  folder = await mkdtemp(join(tmpdir(), 'treeline-migrate-'));
  await cp(migrationsDirectory, folder, { recursive: true });
  return () => rm(folder, { recursive: true });
});

it('applies each migration once, however many run at the same time', async () => {
  const runs = await Promise.all([1, 2, 3, 4].map(() => migrate(url, folder)));
  const names = runs.flat();
  expect(new Set(names).size).toBe(names.length);
  const applied = await ask(url, 'select name from treeline_migrations.applied order by name');
  expect(applied.map(({ name }) => name)).toEqual([...names].sort());
  expect(await migrate(url, folder)).toEqual([]);
});

it('undoes a migration that fails, keeps those before it, and goes on once it is put right', async () => {
  const broken = join(folder, '9001_break_in_the_middle.sql');
  await writeFile(broken, 'create table treeline.half (id int); select 1/0;');
  await expect(migrate(url, folder)).rejects.toThrow('9001_break_in_the_middle.sql: division by zero');
  expect(
    await ask(url, "select to_regclass('treeline.half') as half, to_regclass('treeline.usage')::text as usage"),
  ).toEqual([{ half: null, usage: 'treeline.usage' }]);
  await writeFile(broken, 'create table treeline.half (id int);');
  expect(await migrate(url, folder)).toEqual(['9001_break_in_the_middle.sql']);
});

it('refuses to go on where an applied migration was changed', async () => {
  await migrate(url, folder);
  await writeFile(join(folder, '0004_create_usage.sql'), 'select 1;');
  await writeFile(join(folder, '9001_new.sql'), 'create table treeline.new (id int);');
  await expect(migrate(url, folder)).rejects.toThrow(MigrationConflict);
  expect(await ask(url, "select to_regclass('treeline.new') as new")).toEqual([{ new: null }]);
});

it('needs no superuser: an owner that may make roles is enough, also on PostgreSQL 18', async () => {
  // Roles belong to the cluster, so this one must be new.
  const fresh = await startDatabase(undefined, { migrated: false });
  try {
    await ask(fresh.url, "create role owner login createrole password 'owner'");
    await ask(fresh.url, 'create database owned owner owner');
    const owned = new URL(fresh.url);
    owned.username = 'owner';
    owned.password = 'owner';
    owned.pathname = '/owned';
    expect((await migrate(owned.href, folder)).length).toBeGreaterThan(0);
    const tenant = '11111111-1111-4111-8111-111111111111';
    await ask(owned.href, `select treeline.provision('${tenant}', 'Own', 'key', 'tl_00000000', repeat('a', 64))`);
    const sql = createSql({ databaseUrl: owned.href, perCall: true });
    expect(await sql.query("select tenant_name from treeline.authenticate(repeat('a', 64))")).toEqual([
      { tenant_name: 'Own' },
    ]);
    const name = (id: string) =>
      sql.asTenant(id, (transaction) => transaction.query('select name from treeline.tenants'));
    expect(await name(tenant)).toEqual([{ name: 'Own' }]);
    expect(await name('22222222-2222-4222-8222-222222222222')).toEqual([]);
  } finally {
    await fresh.remove();
  }
});

it('does not wait for ever for a database that is not there', async () => {
  const nobody = new URL(url);
  nobody.pathname = '/no_such_database';
  await expect(migrate(nobody.href, folder)).rejects.toThrow('does not exist');
});
