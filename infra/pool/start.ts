/** `npm run pool`: builds the pool, fetches its models, and runs one node on port 8089 until it is interrupted. */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stateDirectory } from '../local/paths.ts';
import { poolPort, startPool } from '../local/pool-part.ts';
import { terminalProgress } from '../local/progress.ts';
import { interrupted } from '../local/run-command.ts';
import { steps } from '../local/steps.ts';
import { ensurePoolFiles, modelFolders } from '../models/fetch.ts';
import { buildPool } from './build.ts';
import { missingToolchains } from './toolchains.ts';

const exitInterrupted = 130;
const chatModel = 'smollm2-135m-instruct';

const help = `Builds the inference pool (Go and Rust), fetches its models, and runs one node.

Usage: npm run pool -- [flags] [-- flags of treeline-pool]

  -p, --port PORT  port of the node (${poolPort})
  --build-only     build, and no more
  --no-build       run what was built before
  --no-models      do not fetch or check models
  -h, --help       this text

What follows a second -- goes to the node itself, such as: npm run pool -- -- --etcd http://127.0.0.1:2379
pool/dist/treeline-pool --help names its flags.
`;

function parse(parameters: readonly string[]) {
  const divider = parameters.indexOf('--');
  const own = divider < 0 ? parameters : parameters.slice(0, divider);
  const { values } = parseArgs({
    args: [...own],
    options: {
      port: { type: 'string', short: 'p', default: String(poolPort) },
      'build-only': { type: 'boolean', default: false },
      'no-build': { type: 'boolean', default: false },
      'no-models': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Error(`A port is a number, not "${values.port}".`);
  return { ...values, port, flags: divider < 0 ? [] : parameters.slice(divider + 1) };
}

/** What answers, for people. */
const banner = (url: string, log: string): string => `
The pool answers at ${url}
Log: ${log}

curl -s ${url}/v1/chat/completions -H 'content-type: application/json' \\
  -d '{"model":"${chatModel}","messages":[{"role":"user","content":"Say hello."}],"max_tokens":32}'
curl -s ${url}/api/v1/ipc/call -H 'content-type: application/json' -d '{"operation":"echo","data":"test"}'

OpenAI's API: ${url}/v1    Open Inference: ${url}/v2    its nodes: ${url}/v1/nodes    metrics: ${url}/metrics
An edge uses it with POOL_DIRECTORY_URL=${url}.

Ctrl-C stops it.
`;

async function run(command: ReturnType<typeof parse>, signal: AbortSignal, asked: Promise<unknown>): Promise<number> {
  const progress = terminalProgress(process.stdout);
  const step = steps(progress, signal);
  if (!command['no-build']) {
    const missing = await missingToolchains();
    if (missing.length > 0) throw new Error(`The pool cannot be built here: ${missing.join(' ')}`);
    await step('Building the pool', (one) => buildPool(stateDirectory, one, { signal }));
  }
  if (command['build-only']) return 0;
  if (!command['no-models']) await ensurePoolFiles(progress, modelFolders(), signal);
  const { port, flags } = command;
  const start = () => startPool({ port, directory: stateDirectory, flags, signal });
  const pool = await step('Pool', start, ({ name }) => name);
  console.log(banner(pool.address.url, join(stateDirectory, 'pool.log')));
  const failure = await Promise.race([pool.failed, asked.then(() => null)]);
  console.log(failure === null ? '\nStopping.' : `\n${failure}`);
  await pool.stop();
  return failure === null ? 0 : 1;
}

async function main(): Promise<number> {
  try {
    const command = parse(process.argv.slice(2));
    if (command.help) {
      console.log(help);
      return 0;
    }
    const abort = new AbortController();
    const asked = interrupted().then(() => abort.abort());
    return await run(command, abort.signal, asked).catch((error: unknown) => {
      if (!abort.signal.aborted) throw error;
      console.log('\nInterrupted.');
      return exitInterrupted;
    });
  } catch (error) {
    console.error(`\n${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

process.exitCode = await main();
process.exit();
