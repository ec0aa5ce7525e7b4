/** The edge as a part of a local run: under workerd by wrangler, or the Supabase entry under Deno. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Part } from './part.ts';
import { assetsDirectory, projectDirectory } from './paths.ts';
import { freePort, loopback } from './ports.ts';
import { type Child, startChild, stopProcess } from './process.ts';
import { writeSecretFile } from './secret-file.ts';

/** Which host runs the edge. */
export type EdgeHost = 'workers' | 'supabase';

/** The edge's variables by name. */
export type EdgeVariables = Readonly<Record<string, string>>;

/** How the edge is started. */
export interface EdgeOptions {
  readonly host: EdgeHost;
  readonly port: number;
  /** For its variables, its log and its own state. */
  readonly directory: string;
  readonly variables: EdgeVariables;
  /** Called with each line that it prints. */
  readonly onLine: (line: string) => void;
  /** Ends the wait for it to become ready. */
  readonly signal?: AbortSignal;
  /** The address that answers 200 once the edge counts as started; `/v2/health/ready` where not given. */
  readonly readyPath?: string;
  /** The folder of the models' files, for workerd; `.treeline/assets` where not given. Deno reads `MODEL_FOLDER`. */
  readonly assets?: string;
}

/** A part with the URL at which it answers, without a slash at the end. */
export interface EdgePart extends Part {
  readonly url: string;
}

const readyTimeoutMs = 90_000;
const pollMs = 100;
const probeTimeoutMs = 5_000;
const stopGraceMs = 5_000;
const lastLinesMax = 25;

/** Quiet, and asking nobody. */
const wranglerEnvironment = {
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  CI: '1',
  FORCE_COLOR: '0',
};

/** Where the Supabase entry lies below its server's address. */
const functionPath = '/functions/v1/treeline';

/** One line of a variables file. A value with a line break cannot be written there. */
function variableLine([name, value]: [string, string]): string {
  if (/[\r\n]/.test(value)) throw new Error(`${name} must not hold a line break.`);
  const quote = ["'", '"', '`'].find((candidate) => !value.includes(candidate));
  if (quote === undefined) throw new Error(`${name} must not hold all three kinds of quotation marks.`);
  return `${name}=${quote}${value}${quote}`;
}

async function startWorkerd(options: EdgeOptions, onLine: (line: string) => void): Promise<Child> {
  const variablesFile = join(options.directory, 'edge.env');
  await writeSecretFile(variablesFile, `${Object.entries(options.variables).map(variableLine).join('\n')}\n`);
  const parameters = [
    // Not bin/wrangler.js, which starts this one as a child and would stand between us and it.
    ...['--no-warnings', join(projectDirectory, 'node_modules/wrangler/wrangler-dist/cli.js'), 'dev'],
    ...['--ip', loopback, '--port', String(options.port), '--inspector-port', String(await freePort())],
    ...['--env-file', variablesFile, '--persist-to', join(options.directory, 'workerd')],
    ...(options.assets === undefined ? [] : ['--assets', options.assets]),
    ...['--show-interactive-dev-session=false', '--log-level', 'warn'],
  ];
  // wrangler refuses to start where the folder of assets is not there, as before the first model is fetched.
  await mkdir(assetsDirectory, { recursive: true });
  const environment = {
    ...process.env,
    ...wranglerEnvironment,
    WRANGLER_LOG_PATH: join(options.directory, 'wrangler'),
  };
  return startChild(process.execPath, parameters, { cwd: projectDirectory, env: environment, onLine });
}

async function startDeno(options: EdgeOptions, onLine: (line: string) => void): Promise<Child> {
  const server = join(projectDirectory, 'infra/local/deno-functions-server.ts');
  const parameters = ['run', '-A', '--no-remote', '--cached-only', '--node-modules-dir=manual', server];
  const environment = {
    ...process.env,
    ...options.variables,
    FUNCTIONS_PORT: String(options.port),
    DENO_NO_UPDATE_CHECK: '1',
  };
  const deno = join(projectDirectory, 'node_modules/.bin/deno');
  return startChild(deno, parameters, { cwd: projectDirectory, env: environment, onLine });
}

async function isReady(address: string): Promise<boolean> {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(probeTimeoutMs) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** Starts the edge and answers once it is ready to serve. Throws with its last words where it is not in time. */
export async function startEdge(options: EdgeOptions): Promise<EdgePart> {
  const last: string[] = [];
  let broken = false;
  const onLine = (line: string) => {
    options.onLine(line);
    // wrangler goes on waiting for a change of the sources; we do not.
    broken ||= line.includes('Build failed with');
    last.push(line);
    if (last.length > lastLinesMax) last.shift();
  };
  const start = options.host === 'workers' ? startWorkerd : startDeno;
  const child = await start(options, onLine);
  const url = `http://localhost:${options.port}${options.host === 'workers' ? '' : functionPath}`;
  let gone = false;
  let stopping = false;
  const failed = new Promise<string>((resolve) => {
    void child.ended.then(({ code, signal }) => {
      gone = true;
      if (!stopping) resolve(`The edge ended by itself (${signal ?? `code ${code}`}):\n${last.join('\n')}`);
    });
  });
  const stop = async () => {
    stopping = true;
    await child.stop('SIGTERM', stopGraceMs);
    // What it started itself (workerd, esbuild) is in its process group, and goes with it.
    await stopProcess(-child.pid, 'SIGTERM', stopGraceMs);
  };
  const giveUpAt = Date.now() + readyTimeoutMs;
  while (!(await isReady(url + (options.readyPath ?? '/v2/health/ready')))) {
    if (gone || broken || options.signal?.aborted === true || Date.now() > giveUpAt) {
      await stop();
      throw new Error(`The edge did not become ready:\n${last.join('\n')}`);
    }
    await delay(pollMs);
  }
  const name = options.host === 'workers' ? 'Edge (workerd)' : 'Edge (Supabase entry, Deno)';
  return { name: `${name} on port ${options.port}`, pid: child.pid, failed, url, stop };
}
