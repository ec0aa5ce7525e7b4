/**
 * Sends thousands of made-up requests to every operation of `/openapi.json`, by schemathesis, and fails on any answer
 * with 5xx or one that breaks its own schema. `TREELINE_SEED` repeats a run. Start it through `tests/support/on-edge.ts`.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { projectDirectory, stateDirectory } from '../../infra/local/paths.ts';
import { runningEdge } from '../contract/edge.ts';
import { startChatUpstream } from '../support/chat-upstream.ts';
import { startFuzzedNode } from './pool.ts';

/** Cases over all operations below which a run does not count: 5,000 over both hosts. */
const casesMin = 2_500;
/** Made-up requests of each operation, next to the ones that walk through the schema's edges. */
const examplesOfEach = 60;
/** The seed of every run that is given no other, so that a finding comes again. */
const seedDefault = 20_261_123;
const limitMs = 480_000;

const seed = process.env.TREELINE_SEED ?? String(seedDefault);
const { url, key, host, upstreamPort, poolPort } = runningEdge();
const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
];

const parameters = [
  ...['--config-file', join(projectDirectory, 'tests/fuzz/schemathesis.toml')],
  ...['run', `${url}/openapi.json`, '--url', url],
  ...['--header', `Authorization: Bearer ${key}`, '--seed', seed, '--max-examples', String(examplesOfEach)],
  ...['--checks', checks.join(','), '--phases', 'examples,coverage,fuzzing', '--mode', 'all'],
  // One worker: with threads Python's own parser fails now and then ("AST constructor recursion depth mismatch").
  ...['--workers', '1', '--request-timeout', '20', '--continue-on-failure', '--no-color'],
  // With made-up credentials nearly every case would end at the door.
  ...['--generation-database', 'none', '--generation-with-security-parameters', 'false'],
];

/** Runs schemathesis and gives what it printed. */
function run(): Promise<{ exitCode: number; output: string }> {
  const program = join(projectDirectory, '.venv/bin/schemathesis');
  const environment = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
  // It keeps notes of its own in the folder that it runs in.
  const cwd = join(stateDirectory, 'test');
  const child = spawn(program, parameters, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment,
    timeout: limitMs,
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
    child.once('close', (code) => resolve({ exitCode: code ?? 1, output }));
  });
}

console.log(`schemathesis against ${host}: TREELINE_SEED=${seed}`);
const servers = [await startChatUpstream(upstreamPort), await startFuzzedNode(poolPort)];
const { exitCode, output } = await run();
await Promise.all(servers.map((server) => server.close()));

const cases = Number(/(\d+) generated/.exec(output)?.[1] ?? 0);
const isEnough = cases >= casesMin;
if (!isEnough) console.log(`Only ${cases} cases were made; ${casesMin} are wanted.`);
const isGood = exitCode === 0 && isEnough;
console.log(`${cases} cases`);
console.log(isGood ? '1 passed, 0 failed' : '0 passed, 1 failed');
process.exitCode = isGood ? 0 : 1;
