/**
 * Runs `supabase/tests/*.sql` (pgTAP) on a PostgreSQL 15 of its own, from Debian's packages, on a free port of
 * loopback, twice: with the migrations applied by a superuser, and by an owner without any such rights, as on a hosted
 * database. `node tests/database/run.ts`
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrate } from '../../infra/database/migrate.ts';
import { ensureDebianFile } from '../../infra/local/debian-packages.ts';
import { startCluster } from '../../infra/local/postgres-cluster.ts';
import { readTap } from './tap.ts';

const folder = fileURLToPath(new URL('../../supabase/tests', import.meta.url));
const version = '15';
const ownerPassword = 'owner';

async function onDatabase<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** All that a file's statements answer, as lines. */
async function linesOf(client: pg.Client, text: string): Promise<string[]> {
  const answered: unknown = await client.query({ text, rowMode: 'array' });
  const results = Array.isArray(answered) ? answered : [answered];
  return results.flatMap(({ rows }: pg.QueryArrayResult) => rows.map(([value]) => String(value ?? '')));
}

/** Runs one file in a session of its own. Returns how many passed, and prints what failed. */
async function runFile(url: string, name: string): Promise<{ passed: number; failed: boolean }> {
  const text = await readFile(join(folder, name), 'utf8');
  const { passed, failures } = await onDatabase(url, async (client) => {
    try {
      return readTap(await linesOf(client, text));
    } catch (error) {
      return { passed: 0, failures: [error instanceof Error ? error.message : String(error)] };
    }
  });
  for (const line of failures) console.error(`${name}: ${line}`);
  return { passed, failed: failures.length > 0 };
}

/** Makes the database `name`, applies the migrations as its owner, and runs all files on it. */
async function runOn(superuserUrl: string, name: string, owner: string | null) {
  const url = new URL(superuserUrl);
  await onDatabase(superuserUrl, async (client) => {
    if (owner !== null) await client.query(`create role ${owner} login createrole password '${ownerPassword}'`);
    await client.query(`create database ${name} ${owner === null ? '' : `owner ${owner}`}`);
  });
  url.pathname = `/${name}`;
  const ownerUrl = new URL(url);
  if (owner !== null) {
    ownerUrl.username = owner;
    ownerUrl.password = ownerPassword;
  }
  await migrate(ownerUrl.href);
  const [helpers, ...files] = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  await onDatabase(url.href, async (client) => client.query(await readFile(join(folder, helpers ?? ''), 'utf8')));
  let passed = 0;
  let failed = false;
  for (const file of files) {
    const result = await runFile(url.href, file);
    passed += result.passed;
    failed ||= result.failed;
  }
  console.log(
    `database, migrated by ${owner ?? 'a superuser'}: ${passed} tests passed${failed ? ', some failed' : ''}`,
  );
  return { passed, failed };
}

async function main(): Promise<number> {
  const control = `/usr/share/postgresql/${version}/extension/pgtap.control`;
  const missing = await ensureDebianFile(control, [`postgresql-${version}`, `postgresql-${version}-pgtap`]);
  if (missing !== null) {
    console.error(missing);
    return 1;
  }
  const directory = await mkdtemp(join(tmpdir(), 'treeline-database-'));
  const binaries = { folder: `/usr/lib/postgresql/${version}/bin`, origin: 'machine' as const };
  const cluster = await startCluster({ binaries, directory, durable: false });
  try {
    const plain = await runOn(cluster.url, 'by_owner', 'plain_owner');
    const full = await runOn(cluster.url, 'by_superuser', null);
    console.log(`${plain.passed + full.passed} database tests passed`);
    return plain.failed || full.failed ? 1 : 0;
  } finally {
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main();
