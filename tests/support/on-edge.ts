/**
 * Runs a command while the product runs: `node tests/support/on-edge.ts --host workers|supabase -- command …`. The
 * command finds the product through `TREELINE_*` variables, which `runningEdge` reads. Exits as the command does.
 * `--any-model` passes every chat model's name on to the upstream, where else two are listed.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import { projectDirectory, stateDirectory } from '../../infra/local/paths.ts';
import { freePort } from '../../infra/local/ports.ts';
import { startStack } from '../../infra/local/stack.ts';

function hostOf(text: string | undefined): EdgeHost {
  if (text === 'workers' || text === 'supabase') return text;
  throw new Error('--host must be workers or supabase');
}

function run(command: readonly string[], environment: Record<string, string>): Promise<number> {
  const [program = '', ...parameters] = command;
  const child = spawn(program, parameters, {
    cwd: projectDirectory,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

const { values, positionals } = parseArgs({
  options: { host: { type: 'string' }, 'any-model': { type: 'boolean', default: false } },
  allowPositionals: true,
});
const host = hostOf(values.host);
const upstreamPort = await freePort();
const poolPort = await freePort();
const stack = await startStack({
  host,
  port: await freePort(),
  directory: join(stateDirectory, 'test', host),
  environment: {
    UPSTREAM_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
    UPSTREAM_API_KEY: 'key-of-the-deployment',
    POOL_DIRECTORY_URL: `http://127.0.0.1:${poolPort}`,
    UPSTREAM_MODELS: values['any-model'] ? '' : 'test-chat,test-other',
  },
});
try {
  process.exitCode = await run(positionals, {
    TREELINE_HOST: host,
    TREELINE_URL: stack.url,
    TREELINE_KEY: stack.key,
    TREELINE_TENANT_ID: stack.tenantId,
    TREELINE_DATABASE_URL: stack.databaseUrl,
    TREELINE_STORE_URL: stack.storeUrl,
    TREELINE_STORE_TOKEN: stack.storeToken,
    TREELINE_LOG: stack.log,
    TREELINE_UPSTREAM_PORT: String(upstreamPort),
    TREELINE_POOL_PORT: String(poolPort),
  });
} finally {
  await stack.stop();
}
