/**
 * Runs clients made by others against the built pool with real models: Triton's and OpenAI's for Python, gRPC's
 * reflection, OpenAI's and Connect's for Node. `node tests/conformance/pool/run.ts [flags of treeline-pool]`
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectDirectory } from '../../../infra/local/paths.ts';
import { startPool } from '../../../infra/local/pool-part.ts';
import { freePort } from '../../../infra/local/ports.ts';
import { type Counts, summaryCounts, vitestCounts } from '../../runner/counts.ts';

const here = 'tests/conformance/pool';
const python = process.env.TREELINE_PYTHON ?? join(projectDirectory, '.venv/bin/python');

/** Runs a command, shows what it prints, and answers with it. */
function run(program: string, parameters: readonly string[], url: string): Promise<[output: string, exitCode: number]> {
  const environment = { ...process.env, POOL_URL: url, NO_COLOR: '1' };
  const child = spawn(program, parameters, {
    cwd: projectDirectory,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      process.stdout.write(text);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve([output, code ?? 1]));
  });
}

async function pythonClients(url: string): Promise<Counts> {
  const pytest = ['-B', '-m', 'pytest', '-q', '--tb=short', '-p', 'no:cacheprovider', here];
  return summaryCounts(...(await run(python, pytest, url)));
}

async function nodeClients(url: string): Promise<Counts> {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', `${here}/vitest.config.ts`];
  return vitestCounts(...(await run(process.execPath, vitest, url)));
}

/** The pool's own models, and those that only the tests need, in one folder. */
async function makeRepository(folder: string): Promise<string> {
  const repository = join(folder, 'models');
  for (const source of ['pool/models', `${here}/models`])
    await cp(join(projectDirectory, source), repository, { recursive: true });
  return repository;
}

const folder = await mkdtemp(join(tmpdir(), 'treeline-conformance-'));
try {
  const flags = ['--models', await makeRepository(folder), ...process.argv.slice(2)];
  const pool = await startPool({ port: await freePort(), directory: folder, flags });
  try {
    const counts = [await pythonClients(pool.address.url), await nodeClients(pool.address.url)];
    const sum = (of: keyof Counts) => counts.reduce((total, one) => total + one[of], 0);
    console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
    process.exitCode = sum('failed') === 0 ? 0 : 1;
  } finally {
    await pool.stop();
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
