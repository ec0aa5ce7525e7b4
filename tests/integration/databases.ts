/** PostgreSQL servers for tests: each with data of its own in a temporary folder, migrated, with two tenants. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../infra/database/migrate.ts';
import { ensureDebianFile } from '../../infra/local/debian-packages.ts';
import { embeddedBinaries, type PostgresBinaries } from '../../infra/local/postgres-binaries.ts';
import { type Cluster, startCluster } from '../../infra/local/postgres-cluster.ts';

/** A tenant that the tests know. */
export interface KnownTenant {
  readonly id: string;
  readonly name: string;
  readonly keyHash: string;
}

export const alder: KnownTenant = {
  id: 'aaaaaaaa-0000-4000-8000-000000000001',
  name: 'Alder',
  keyHash: 'a'.repeat(64),
};
export const birch: KnownTenant = {
  id: 'bbbbbbbb-0000-4000-8000-000000000002',
  name: 'Birch',
  keyHash: 'b'.repeat(64),
};

/** A server that a test may stop and start again. */
export interface TestDatabase {
  /** Its superuser's URL: row level security holds even so. */
  readonly url: string;
  readonly port: number;
  /** Ends the server; the data stays. */
  stop(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  /** Ends it and removes the data. */
  remove(): Promise<void>;
}

/** Debian's PostgreSQL 15, or why it is not to be had here. */
export async function debianBinaries(): Promise<PostgresBinaries | string> {
  const folder = '/usr/lib/postgresql/15/bin';
  const missing = await ensureDebianFile(join(folder, 'initdb'), ['postgresql-15']);
  return missing ?? { folder, origin: 'machine' };
}

async function provision(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const { id, name, keyHash } of [alder, birch]) {
    await client.query('select treeline.provision($1, $2, $3, $4, $5)', [id, name, 'key', 'tl_00000000', keyHash]);
  }
  await client.end();
}

/** Starts a new server: the one of npm where no other is given; empty where it is not to be migrated. */
export async function startDatabase(
  binaries?: PostgresBinaries,
  { migrated = true }: { migrated?: boolean } = {},
): Promise<TestDatabase> {
  const directory = await mkdtemp(join(tmpdir(), 'treeline-integration-'));
  const options = { binaries: binaries ?? (await embeddedBinaries()), directory, durable: false };
  let cluster: Cluster | null = await startCluster(options);
  const { url, port } = cluster;
  if (migrated) {
    await migrate(url);
    await provision(url);
  }
  const stop = async () => {
    await cluster?.stop();
    cluster = null;
  };
  return {
    url,
    port,
    stop,
    async start() {
      cluster = await startCluster(options);
      if (cluster.port !== port) throw new Error(`The server moved from port ${port} to ${cluster.port}.`);
    },
    async remove() {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
