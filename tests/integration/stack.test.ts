/** The commands `start` and `stop` as a person uses them, on both hosts: what they say, and what they leave behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { projectDirectory } from '../../infra/local/paths.ts';
import { freePort } from '../../infra/local/ports.ts';
import { isAlive } from '../../infra/local/process.ts';
import { findProgram } from '../../infra/local/programs.ts';
import { silentProgress } from '../../infra/local/progress.ts';
import { readRun } from '../../infra/local/run-file.ts';
import { ensureModels } from '../../infra/models/fetch.ts';

const startTimeoutMs = 120_000;
const stopTimeoutMs = 30_000;

interface Command {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

let directory: string;
const commands: Command[] = [];

/** Runs a script of `infra/local` with a state folder of its own. */
function run(script: string, parameters: readonly string[], variables: Record<string, string> = {}): Command {
  const path = join(projectDirectory, 'infra/local', script);
  const child = spawn(process.execPath, [path, ...parameters], {
    env: { ...process.env, TREELINE_STATE_DIRECTORY: directory, ...variables },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const command = { child, output: () => text, ended };
  commands.push(command);
  return command;
}

/** Waits until the command says that the edge answers; fails with what it said where it ends before. */
async function untilReady({ child, output }: Command): Promise<void> {
  await expect
    .poll(() => output().includes('Treeline answers at') || child.exitCode !== null, { timeout: startTimeoutMs })
    .toBe(true);
  expect(output()).toContain('Treeline answers at');
}

async function processes(): Promise<number[]> {
  const recorded = await readRun(directory);
  return recorded === null ? [] : [recorded.main.pid, ...recorded.children.map(({ pid }) => pid)];
}

async function expectNothingLeft(pids: readonly number[], port: number): Promise<void> {
  expect(pids.length).toBeGreaterThan(2);
  await expect.poll(() => pids.filter(isAlive), { timeout: stopTimeoutMs }).toEqual([]);
  expect(await readRun(directory)).toBeNull();
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
}

async function embed(url: string, headers: Record<string, string>) {
  const response = await fetch(`${url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'all-minilm-l6-v2', input: 'hello world' }),
  });
  const body = (await response.json()) as { data?: { embedding: number[] }[] };
  return { status: response.status, numbers: body.data?.[0]?.embedding.length };
}

beforeAll(async () => {
  await ensureModels(silentProgress);
  directory = await mkdtemp(join(tmpdir(), 'treeline-stack-'));
  // As a start makes its own: the account that PostgreSQL runs as where we are root has to pass.
  await chmod(directory, 0o711);
});
afterEach(async () => {
  for (const { child, ended } of commands.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
  }
}, stopTimeoutMs);
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe.each([
  { host: 'workers', path: '' },
  { host: 'supabase', path: '/functions/v1/treeline' },
])('a start on $host', ({ host, path }) => {
  it(
    'answers with a real embedding, keeps its key, and leaves nothing running after Ctrl-C',
    async () => {
      const port = await freePort();
      const url = `http://localhost:${port}${path}`;
      const parameters = ['--port', String(port), '--host', host];

      const first = run('start.ts', parameters);
      await untilReady(first);
      const key = /tl_[0-9a-f]{48}/.exec(first.output())?.[0] ?? '';
      expect(await embed(url, { authorization: `Bearer ${key}` })).toEqual({ status: 200, numbers: 384 });
      expect(await embed(url, {})).toEqual({ status: 200, numbers: 384 });
      expect((await embed(url, { authorization: `Bearer tl_${'0'.repeat(48)}` })).status).toBe(401);

      const other = run('start.ts', ['--port', String(await freePort()), '--host', host]);
      expect(await other.ended).toBe(1);
      expect(other.output()).toContain('Treeline runs already at');

      const pids = await processes();
      first.child.kill('SIGINT');
      expect(await first.ended).toBe(0);
      await expectNothingLeft(pids, port);

      const second = run('start.ts', parameters);
      await untilReady(second);
      expect(second.output()).toContain(key);
      expect(second.output()).toContain('Migrations: up to date');
      expect(second.output()).not.toContain('✗');
    },
    2 * startTimeoutMs,
  );
});

it(
  'keeps secrets in files that only their owner reads, and out of command lines and logs',
  async () => {
    const port = await freePort();
    const start = run('start.ts', ['--port', String(port)]);
    await untilReady(start);
    const { key } = JSON.parse(await readFile(join(directory, 'development.json'), 'utf8'));
    const password = await readFile(join(directory, 'database', 'password'), 'utf8');
    const token = await readFile(join(directory, 'store-token'), 'utf8');
    for (const name of ['development.json', 'store-token', 'edge.env', 'edge.log', 'run.json', 'database/password']) {
      expect({ name, mode: (await stat(join(directory, name))).mode & 0o777 }).toEqual({ name, mode: 0o600 });
    }
    await embed(`http://localhost:${port}`, { authorization: `Bearer ${key}` });
    const log = await readFile(join(directory, 'edge.log'), 'utf8');
    for (const secret of [key, password, token]) expect(log).not.toContain(secret);
    if (process.platform !== 'linux') return;
    for (const pid of await processes()) {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
      for (const secret of [key, password, token]) expect(commandLine).not.toContain(secret);
    }
  },
  startTimeoutMs,
);

it('says which port is taken, and starts nothing', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const start = run('start.ts', [], { PORT: String(port) });
  expect(await start.ended).toBe(1);
  expect(start.output()).toContain(
    `Port ${port} is in use by another program. Choose another one with --port or PORT.`,
  );
  expect(start.output()).not.toContain('PostgreSQL');
  server.close();
});

it(
  'says that the database cannot be reached, and ends',
  async () => {
    const nobody = `postgres://user:secret-word@127.0.0.1:${await freePort()}/x`;
    const start = run('start.ts', ['--port', String(await freePort())], { DATABASE_URL: nobody });
    expect(await start.ended).toBe(1);
    expect(start.output()).toContain('✗ Migrations');
    expect(start.output()).toContain('ECONNREFUSED');
    expect(start.output()).not.toContain('secret-word');
    expect(await readRun(directory)).toBeNull();
  },
  startTimeoutMs,
);

it(
  'says in which line a seed is wrong and starts no edge; runs a right one at each start',
  async () => {
    const seed = join(directory, 'seed.sql');
    const parameters = ['--port', String(await freePort()), '--no-models', '--embedded-store'];
    await writeFile(seed, "create table seeded (label text);\n-- größer 🌲\ninsert into seeded value ('x');\n");
    const wrong = run('start.ts', [...parameters, '--seed', seed]);
    expect(await wrong.ended).toBe(1);
    expect(wrong.output()).toContain(`✗ Seed: ${seed}, line 3: syntax error at or near "value"`);
    expect(wrong.output()).not.toContain('Edge');

    await writeFile(seed, "create table seeded (label text);\ninsert into seeded values ('größer 🌲');\n");
    const right = run('start.ts', parameters, { SEED: seed });
    await untilReady(right);
    expect(right.output()).toContain(`✓ Seed: ${seed}`);
    expect(right.output()).toContain('string commands only, in memory, nothing survives a stop');
    const variables = await readFile(join(directory, 'edge.env'), 'utf8');
    const client = new pg.Client({ connectionString: /^DATABASE_URL='(.*)'$/m.exec(variables)?.[1] });
    await client.connect();
    const { rows } = await client.query('select label from seeded');
    await client.end();
    expect(rows).toEqual([{ label: 'größer 🌲' }]);
  },
  startTimeoutMs,
);

it('says that there is no seed of that name before anything starts', async () => {
  const start = run('start.ts', ['--seed', join(directory, 'no-such.sql')]);
  expect(await start.ended).toBe(1);
  expect(start.output()).toContain('no-such.sql cannot be read: ENOENT');
  expect(start.output()).not.toContain('PostgreSQL');
});

it.skipIf((await findProgram('redis-server')) === null)(
  "stores in the machine's Redis where it has one",
  async () => {
    const start = run('start.ts', ['--port', String(await freePort()), '--no-models']);
    await untilReady(start);
    expect(start.output()).toMatch(/✓ Store: Redis on port \d+, REST on \d+/);
    const redis = (await readRun(directory))?.children.find(({ name }) => name.startsWith('Redis'));
    expect(isAlive(redis?.pid ?? 0)).toBe(true);
    start.child.kill('SIGINT');
    expect(await start.ended).toBe(0);
    expect(isAlive(redis?.pid ?? 0)).toBe(false);
  },
  startTimeoutMs,
);

it(
  'ends all where one part ends by itself, and says which',
  async () => {
    const port = await freePort();
    const start = run('start.ts', ['--port', String(port)]);
    await untilReady(start);
    const pids = await processes();
    const database = (await readRun(directory))?.children.find(({ name }) => name.startsWith('PostgreSQL'));
    process.kill(database?.pid ?? 0, 'SIGKILL');
    expect(await start.ended).toBe(1);
    expect(start.output()).toContain('PostgreSQL 18 (embedded) ended by itself.');
    await expectNothingLeft(pids, port);
  },
  startTimeoutMs,
);

it(
  'cleans up after a start that was killed, and starts again on the same data',
  async () => {
    const port = await freePort();
    const killed = run('start.ts', ['--port', String(port)]);
    await untilReady(killed);
    const pids = await processes();
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(pids.filter(isAlive).length).toBeGreaterThan(0);

    const again = run('start.ts', ['--port', String(port)]);
    await untilReady(again);
    expect(again.output()).toMatch(/Ended what an interrupted start had left: Edge.*, PostgreSQL/);
    expect(again.output()).toContain('Migrations: up to date');
    expect(pids.filter(isAlive)).toEqual([]);
  },
  2 * startTimeoutMs,
);

it(
  'runs in the background, until it is told to stop',
  async () => {
    const port = await freePort();
    const start = run('start.ts', ['--port', String(port), '--detach']);
    expect(await start.ended).toBe(0);
    expect(start.output()).toContain(`Treeline answers at http://localhost:${port}`);
    const pids = await processes();
    expect(await embed(`http://localhost:${port}`, {})).toEqual({ status: 200, numbers: 384 });
    const stop = run('stop.ts', []);
    expect(await stop.ended).toBe(0);
    expect(stop.output()).toBe('Stopped.\n');
    await expectNothingLeft(pids, port);
    const nothing = run('stop.ts', []);
    expect(await nothing.ended).toBe(0);
    expect(nothing.output()).toBe('Nothing is running.\n');
  },
  startTimeoutMs,
);

it.each([
  { how: 'once, which stops in order', times: 1 },
  { how: 'twice, which kills', times: 2 },
])(
  'leaves nothing where it is interrupted in the middle of the start: $how',
  async ({ times }) => {
    const port = await freePort();
    const start = run('start.ts', ['--port', String(port)]);
    await expect.poll(() => start.output(), { timeout: startTimeoutMs }).toContain('✓ Development tenant');
    await expect.poll(processes).not.toEqual([]);
    const pids = await processes();
    for (let time = 0; time < times; time += 1) {
      start.child.kill('SIGINT');
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(await start.ended).toBe(130);
    expect(start.output()).not.toContain('Treeline answers at');
    await expect.poll(() => pids.filter(isAlive), { timeout: stopTimeoutMs }).toEqual([]);
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  },
  startTimeoutMs,
);
