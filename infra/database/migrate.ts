/**
 * Applies `supabase/migrations/` to the database of `DATABASE_URL`: each in a transaction of its own, once, in order,
 * safe against several running at the same time. `node infra/database/migrate.ts`
 */
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type AppliedMigration, MigrationConflict, pendingMigrations, readMigrations } from './migrations.ts';

/** The project's own migrations. */
export const migrationsDirectory = fileURLToPath(new URL('../../supabase/migrations', import.meta.url));

/** Any number, the same for all runs: one run at a time holds this advisory lock. */
const advisoryLock = 7_291_185_001;
const connectTimeoutMs = 10_000;
/** A migration may have to wait for another run's, but not for ever. */
const lockTimeoutMs = 60_000;

const createMemory = `
create schema if not exists treeline_migrations;
revoke all on schema treeline_migrations from public;
create table if not exists treeline_migrations.applied (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
alter table treeline_migrations.applied enable row level security;
alter table treeline_migrations.applied force row level security;
drop policy if exists applied_owner on treeline_migrations.applied;
create policy applied_owner on treeline_migrations.applied to current_user using (true) with check (true);
`;

async function inTransaction<Result>(client: pg.Client, work: () => Promise<Result>): Promise<Result> {
  await client.query('begin');
  try {
    // Held until the transaction ends, so it works behind a pooler that shares sessions between clients.
    await client.query('select pg_advisory_xact_lock($1)', [advisoryLock]);
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function applyNext(client: pg.Client, directory: string): Promise<string | null> {
  const files = await readMigrations(directory);
  return inTransaction(client, async () => {
    const { rows } = await client.query<AppliedMigration>('select name, checksum from treeline_migrations.applied');
    const next = pendingMigrations(files, rows)[0];
    if (next === undefined) return null;
    await client.query(next.text).catch((cause: Error) => {
      throw new Error(`${next.name}: ${cause.message}`, { cause });
    });
    await client.query('insert into treeline_migrations.applied (name, checksum) values ($1, $2)', [
      next.name,
      next.checksum,
    ]);
    return next.name;
  });
}

/**
 * Brings the database at `databaseUrl` up to date and returns the names of the migrations that it applied. On an error
 * the migration in question is rolled back, and those before it stay. Throws `MigrationConflict` where files and
 * database contradict each other.
 */
export async function migrate(databaseUrl: string, directory: string = migrationsDirectory): Promise<string[]> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'treeline-migrate',
  });
  // A connection that breaks between two queries reports here; the next query then fails with the same error.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    await client.query('set client_min_messages = warning');
    await inTransaction(client, () => client.query(createMemory));
    const applied: string[] = [];
    // Ends: each turn applies one of finitely many files, or finds none left.
    for (let name = await applyNext(client, directory); name !== null; name = await applyNext(client, directory)) {
      applied.push(name);
    }
    return applied;
  } finally {
    await client.end();
  }
}

async function main(): Promise<number> {
  const databaseUrl = process.env.DATABASE_URL;
  if (!databaseUrl) {
    console.error('DATABASE_URL is not set. Example: DATABASE_URL=postgres://user:password@host:5432/database');
    return 2;
  }
  try {
    const applied = await migrate(databaseUrl);
    for (const name of applied) console.log(`applied ${name}`);
    console.log(applied.length === 0 ? 'The database is up to date.' : `${applied.length} migrations applied.`);
    return 0;
  } catch (error) {
    const kind = error instanceof MigrationConflict ? 'Refused' : 'Failed';
    console.error(`${kind}: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
