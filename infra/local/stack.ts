/** Everything that a local run consists of, started in order and stopped in the opposite one. */
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { migrate } from '../database/migrate.ts';
import { ensureModels } from '../models/fetch.ts';
import { developmentTenant, provision } from './development-tenant.ts';
import { type EdgeHost, type EdgeVariables, startEdge } from './edge-part.ts';
import type { Part } from './part.ts';
import { stateDirectory } from './paths.ts';
import { isPortFree } from './ports.ts';
import { existingPostgres, type PostgresPart, startEmbeddedPostgres, startMachinePostgres } from './postgres-part.ts';
import { type Progress, silentProgress } from './progress.ts';
import { describeProcess, readRun, removeRun, stillRuns, stopLeftovers, writeRun } from './run-file.ts';
import { existingStore, type StorePart, startBridge, startEmbeddedStore, startMachineRedis } from './store-part.ts';

/** What to start. */
export interface StackOptions {
  readonly host: EdgeHost;
  readonly port: number;
  /** Embedded: those of npm and of this project. Machine: the machine's own PostgreSQL and Redis. */
  readonly services?: 'embedded' | 'machine';
  /** Where the run keeps its data; `.treeline` where not given. Two runs must not share one. */
  readonly directory?: string;
  /** False to leave models as they are. */
  readonly models?: boolean;
  /** Services that run already, and what is passed on to the edge; nothing of it where not given. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly progress?: Progress;
}

/** A running stack. */
export interface Stack {
  /** The edge's address, without a slash at the end. */
  readonly url: string;
  /** The development tenant's key. */
  readonly key: string;
  readonly tenantId: string;
  readonly databaseUrl: string;
  readonly storeUrl: string;
  readonly storeToken: string;
  /** The file with everything that the edge printed. */
  readonly log: string;
  /** Resolves, with what happened, when a part has ended by itself. */
  readonly failed: Promise<string>;
  /** Stops all that was started, last first. A second call waits for the first. */
  stop(): Promise<void>;
}

/** Variables that the edge reads and that are passed on to it as they are. */
export const passedOn = [
  'UPSTREAM_BASE_URL',
  'UPSTREAM_API_KEY',
  'UPSTREAM_MODELS',
  'SUPABASE_URL',
  'SUPABASE_ANON_KEY',
  'SUPABASE_SERVICE_ROLE_KEY',
  'MODEL_BUCKET',
  'NEON_PROXY',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_SERVICE_NAME',
] as const;

type Environment = NonNullable<StackOptions['environment']>;

/** Runs one step of the start and tells how it went; `detail` says it of the result. */
async function told<Result>(
  progress: Progress,
  title: string,
  work: () => Promise<Result>,
  detail: (result: Result) => string = () => '',
): Promise<Result> {
  const step = progress.step(title);
  try {
    const result = await work();
    step.done(detail(result));
    return result;
  } catch (error) {
    step.fail(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
    throw error;
  }
}

function startPostgres(options: StackOptions, environment: Environment, directory: string): Promise<PostgresPart> {
  const { DATABASE_URL: url } = environment;
  if (url !== undefined && url !== '') return Promise.resolve(existingPostgres(url));
  return options.services === 'machine' ? startMachinePostgres(directory) : startEmbeddedPostgres(directory);
}

function startStore(options: StackOptions, environment: Environment, directory: string): Promise<StorePart> {
  const { UPSTASH_REDIS_REST_URL: restUrl, UPSTASH_REDIS_REST_TOKEN: restToken, REDIS_URL: redisUrl } = environment;
  if (restUrl) return Promise.resolve(existingStore(restUrl, restToken ?? ''));
  if (redisUrl) return startBridge(redisUrl, directory);
  return options.services === 'machine' ? startMachineRedis(directory) : startEmbeddedStore(directory);
}

/** Refuses a second run in the same folder, and cleans up after one that was killed. */
async function claim(directory: string, progress: Progress): Promise<void> {
  const run = await readRun(directory);
  if (run === null) return;
  if (await stillRuns(run.main))
    throw new Error(`Treeline runs already at ${run.url} (process ${run.main.pid}). Stop it with: make stop`);
  const stopped = await stopLeftovers(run);
  if (stopped.length > 0) progress.note(`Ended what an interrupted start had left: ${stopped.join(', ')}.`);
  await removeRun(directory);
}

async function recordRun(directory: string, url: string, parts: readonly Part[]): Promise<void> {
  const children = [];
  for (const { name, pid } of parts) if (pid !== null) children.push(await describeProcess(name, pid));
  await writeRun(directory, { main: await describeProcess('start', process.pid), children, url });
}

/** The edge's variables: where its services are, who calls without a key are, and what the user set. */
function edgeVariables(
  postgres: PostgresPart,
  store: StorePart,
  tenantId: string,
  environment: Environment,
): EdgeVariables {
  const given = passedOn.flatMap((name) => (environment[name] ? [[name, environment[name]] as const] : []));
  return {
    ...Object.fromEntries(given),
    DATABASE_URL: postgres.url,
    UPSTASH_REDIS_REST_URL: store.url,
    UPSTASH_REDIS_REST_TOKEN: store.token,
    ANONYMOUS_TENANT_ID: tenantId,
  };
}

/** Starts everything and answers once the edge does. Where a part fails, those before it are stopped again. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { host, port, directory = stateDirectory, environment = {}, progress = silentProgress } = options;
  const parts: Part[] = [];
  let stopped: Promise<void> | null = null;
  const stopAll = async () => {
    for (const part of [...parts].reverse()) await part.stop();
    await removeRun(directory);
  };
  const stop = () => {
    stopped ??= stopAll();
    return stopped;
  };
  const add = <Added extends Part>(part: Added): Added => {
    parts.push(part);
    return part;
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await claim(directory, progress);
  if (!(await isPortFree(port)))
    throw new Error(`Port ${port} is in use by another program. Choose another one with --port or PORT.`);
  try {
    const url = `http://localhost:${port}`;
    if (options.models !== false) await ensureModels(progress);
    const postgres = add(
      await told(
        progress,
        'PostgreSQL',
        () => startPostgres(options, environment, directory),
        ({ name }) => name,
      ),
    );
    await recordRun(directory, url, parts);
    await told(
      progress,
      'Migrations',
      () => migrate(postgres.url),
      (applied) => (applied.length === 0 ? 'up to date' : `${applied.length} applied`),
    );
    const store = add(
      await told(
        progress,
        'Store',
        () => startStore(options, environment, directory),
        ({ name }) => name,
      ),
    );
    const tenant = await developmentTenant(directory);
    await told(progress, 'Development tenant and key', () => provision(postgres.url, tenant));
    const log = join(directory, 'edge.log');
    const logStream = createWriteStream(log, { mode: 0o600 });
    const variables = edgeVariables(postgres, store, tenant.tenantId, environment);
    const onLine = (line: string) => void logStream.write(`${line}\n`);
    const edge = add(
      await told(
        progress,
        'Edge',
        () => startEdge({ host, port, directory, variables, onLine }),
        ({ name }) => name,
      ),
    );
    await recordRun(directory, edge.url, parts);
    return {
      url: edge.url,
      key: tenant.key,
      tenantId: tenant.tenantId,
      databaseUrl: postgres.url,
      storeUrl: store.url,
      storeToken: store.token,
      log,
      failed: Promise.race(parts.map(({ failed }) => failed)),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
