/**
 * Runs clients made by others against the built pool with real models: Triton's and OpenAI's for Python, gRPC's
 * reflection, OpenAI's and Connect's for Node. `node tests/conformance/pool/run.ts [flags of treeline-pool]`
 */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServicePart } from '../../../infra/local/part.ts';
import { projectDirectory } from '../../../infra/local/paths.ts';
import { startPool } from '../../../infra/local/pool-part.ts';
import { freePort } from '../../../infra/local/ports.ts';
import { type Counts, summaryCounts, vitestCounts } from '../../runner/counts.ts';
import { runShown } from './run-shown.ts';

const here = 'tests/conformance/pool';
const python = process.env.TREELINE_PYTHON ?? join(projectDirectory, '.venv/bin/python');

async function pythonClients(variables: Readonly<Record<string, string>>): Promise<Counts> {
  const pytest = ['-B', '-m', 'pytest', '-q', '--tb=short', '-p', 'no:cacheprovider', here];
  return summaryCounts(...(await runShown(python, pytest, variables)));
}

async function nodeClients(url: string): Promise<Counts> {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', `${here}/vitest.config.ts`];
  return vitestCounts(...(await runShown(process.execPath, vitest, { POOL_URL: url })));
}

/** The pool's own models, and those that only the tests need, in one folder. */
async function makeRepository(folder: string): Promise<string> {
  const repository = join(folder, 'models');
  for (const source of ['pool/models', `${here}/models`])
    await cp(join(projectDirectory, source), repository, { recursive: true });
  return repository;
}

const folder = await mkdtemp(join(tmpdir(), 'treeline-conformance-'));
const started: ServicePart[] = [];
async function start(name: string, ...flags: string[]): Promise<string> {
  const part = await startPool({ port: await freePort(), directory: join(folder, name), flags });
  started.push(part);
  return part.address.url;
}
try {
  const repository = await makeRepository(folder);
  const flags = ['--models', repository, ...process.argv.slice(2)];
  const url = await start('pool', ...flags, '--go-models', join(folder, 'go-models'));
  // One call at a time, to see how clients take a refusal.
  const narrowUrl = await start('narrow', ...flags, '--running-calls-max', '1');
  const counts = [
    await pythonClients({ POOL_URL: url, NARROW_POOL_URL: narrowUrl, POOL_MODELS: repository }),
    await nodeClients(url),
  ];
  const sum = (of: keyof Counts) => counts.reduce((total, one) => total + one[of], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  process.exitCode = sum('failed') === 0 ? 0 : 1;
} finally {
  for (const part of started) await part.stop();
  await rm(folder, { recursive: true, force: true });
}
