/** Everything that a local run consists of, started in order and stopped in the opposite one. */
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { migrate } from '../database/migrate.ts';
import { ensureModels, ensurePoolFiles, modelFolders } from '../models/fetch.ts';
import { buildPool } from '../pool/build.ts';
import { missingToolchains } from '../pool/toolchains.ts';
import type { Address } from './address.ts';
import { BackgroundPool } from './background-pool.ts';
import { developmentTenant, provision } from './development-tenant.ts';
import { type EdgeHost, type EdgeVariables, startEdge } from './edge-part.ts';
import { startEtcd } from './etcd-part.ts';
import { startForwards } from './forward-part.ts';
import { startNats } from './nats-part.ts';
import type { Part, ServicePart } from './part.ts';
import { makeStateDirectory, stateDirectory } from './paths.ts';
import { poolPort, startPool } from './pool-part.ts';
import { freePortNear, isPortFree } from './ports.ts';
import { existingPostgres, type PostgresPart, startEmbeddedPostgres, startMachinePostgres } from './postgres-part.ts';
import { type Progress, silentProgress } from './progress.ts';
import { startPrometheus } from './prometheus-part.ts';
import { describeProcess, readRun, removeRun, stillRuns, stopLeftovers, writeRun } from './run-file.ts';
import { applySeed, readSeed, type Seed } from './seed.ts';
import { steps } from './steps.ts';
import {
  existingStore,
  type StorePart,
  startBridge,
  startEmbeddedStore,
  startFoundStore,
  startMachineRedis,
} from './store-part.ts';

/** What to start. */
export interface StackOptions {
  readonly host: EdgeHost;
  readonly port: number;
  /** Embedded: those of npm and of this project. Machine: the machine's own PostgreSQL and Redis. */
  readonly services?: 'embedded' | 'machine';
  /**
   * What is behind the REST interface of the store: that of this project, the machine's Redis if it has one, or that
   * Redis in any case; as `services` says where not given.
   */
  readonly store?: 'embedded' | 'found' | 'machine';
  /** True to start NATS, etcd and Prometheus of the machine's as well. */
  readonly companions?: boolean;
  /**
   * Part: a node of the inference pool on its own port, built first, with the companions' etcd and NATS. Background: one
   * that is built while the edge runs, and joins. Either is left out where Go or Rust is missing; none where not given.
   */
  readonly pool?: 'part' | 'background';
  /** An SQL file to run once the migrations are applied. */
  readonly seed?: string | null;
  /** Where the run keeps its data; `.treeline` where not given. Two runs must not share one. */
  readonly directory?: string;
  /** False to leave models as they are. */
  readonly models?: boolean;
  /** Services that run already, and what is passed on to the edge; nothing of it where not given. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly progress?: Progress;
  /** Further ports that lead to the edge. */
  readonly forwardedPorts?: readonly number[];
  /** Ends a start that is under way, after the step that it is at. */
  readonly signal?: AbortSignal;
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
  /** Where a real Redis is behind the store, its own address. */
  readonly redisUrl?: string;
  /** The file with everything that the edge printed. */
  readonly log: string;
  /** Services besides the edge, for people. */
  readonly addresses: readonly Address[];
  /** Begins with what joins later, and returns at once; told by `progress`. */
  beginBackground(progress: Progress): void;
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
  'SEARCH_WEBHOOKS',
  'SEARCH_WEBHOOK_SECRET',
  'POOL_DIRECTORY_URL',
  'POOL_CERTIFICATE',
  'POOL_KEY',
  'POOL_AUTHORITY',
  'SUPABASE_URL',
  'SUPABASE_ANON_KEY',
  'SUPABASE_SERVICE_ROLE_KEY',
  'MODEL_BUCKET',
  'MODEL_FOLDER',
  'NEON_PROXY',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_SERVICE_NAME',
] as const;

type Environment = NonNullable<StackOptions['environment']>;

function startPostgres(options: StackOptions, environment: Environment, directory: string): Promise<PostgresPart> {
  const { DATABASE_URL: url } = environment;
  if (url !== undefined && url !== '') return Promise.resolve(existingPostgres(url));
  return options.services === 'machine' ? startMachinePostgres(directory) : startEmbeddedPostgres(directory);
}

function startStore(options: StackOptions, environment: Environment, directory: string): Promise<StorePart> {
  const { UPSTASH_REDIS_REST_URL: restUrl, UPSTASH_REDIS_REST_TOKEN: restToken, REDIS_URL: redisUrl } = environment;
  if (restUrl) return Promise.resolve(existingStore(restUrl, restToken ?? ''));
  if (redisUrl) return startBridge(redisUrl, directory);
  const start = { embedded: startEmbeddedStore, found: startFoundStore, machine: startMachineRedis };
  return start[options.store ?? options.services ?? 'embedded'](directory);
}

/** Refuses a second run in the same folder, and cleans up after one that was killed. */
async function claim(directory: string, port: number, progress: Progress): Promise<void> {
  await makeStateDirectory(directory);
  const run = await readRun(directory);
  if (run !== null && (await stillRuns(run.main)))
    throw new Error(`Treeline runs already at ${run.url} (process ${run.main.pid}). Stop it with: make stop`);
  const stopped = run === null ? [] : await stopLeftovers(run);
  if (stopped.length > 0) progress.note(`Ended what an interrupted start had left: ${stopped.join(', ')}.`);
  await removeRun(directory);
  if (!(await isPortFree(port)))
    throw new Error(`Port ${port} is in use by another program. Choose another one with --port or PORT.`);
}

/** Whether a pool of our own is to be run: one is wanted, none runs already, and it can be built. */
async function canRunPool({ pool }: StackOptions, environment: Environment, progress: Progress): Promise<boolean> {
  if (pool === undefined || environment.POOL_DIRECTORY_URL) return false;
  const missing = await missingToolchains();
  if (missing.length > 0) progress.note(`Without the inference pool: ${missing.join(' ')}`);
  return missing.length === 0;
}

/** The edge's variables: where its services are, who calls without a key are, and what the user set. */
function edgeVariables(
  postgres: PostgresPart,
  store: StorePart,
  tenantId: string,
  poolUrl: string | null,
  environment: Environment,
): EdgeVariables {
  const given = passedOn.flatMap((name) => (environment[name] ? [[name, environment[name]] as const] : []));
  return {
    ...(poolUrl === null ? {} : { POOL_DIRECTORY_URL: poolUrl }),
    ...Object.fromEntries(given),
    DATABASE_URL: postgres.url,
    UPSTASH_REDIS_REST_URL: store.url,
    UPSTASH_REDIS_REST_TOKEN: store.token,
    ANONYMOUS_TENANT_ID: tenantId,
  };
}

/** The parts that run, and the file that tells of them. */
class RunningParts {
  readonly #directory: string;
  readonly #parts: Part[] = [];
  readonly #addresses: Address[] = [];
  #url: string;
  #stopped: Promise<void> | null = null;

  constructor(directory: string, url: string) {
    this.#directory = directory;
    this.#url = url;
  }

  /** Resolves when one of them has ended by itself. */
  get failed(): Promise<string> {
    return Promise.race(this.#parts.map(({ failed }) => failed));
  }

  async add<Added extends Part>(part: Added): Promise<Added> {
    this.#parts.push(part);
    await this.record(false);
    return part;
  }

  /** Adds a service that people reach at an address of its own. */
  async addService(service: ServicePart): Promise<void> {
    this.#addresses.push(service.address);
    await this.add(service);
  }

  /** Where the services are that people reach, in the order of their start. */
  get addresses(): readonly Address[] {
    return [...this.#addresses];
  }

  /** Writes down what runs; `ready` and `url` once the edge answers. */
  async record(ready: boolean, url: string = this.#url): Promise<void> {
    this.#url = url;
    const children = [];
    for (const { name, pid } of this.#parts) if (pid !== null) children.push(await describeProcess(name, pid));
    const main = await describeProcess('start', process.pid);
    await writeRun(this.#directory, { main, children, url, ready, addresses: [...this.#addresses] });
  }

  /** Stops all, last started first. A second call waits for the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async #stopAll(): Promise<void> {
    for (const part of [...this.#parts].reverse()) await part.stop();
    await removeRun(this.#directory);
  }
}

async function startParts(
  options: StackOptions,
  directory: string,
  seed: Seed | null,
  parts: RunningParts,
): Promise<Stack> {
  const { host, port, environment = {}, progress = silentProgress, forwardedPorts = [], signal } = options;
  const step = steps(progress, signal);
  const start = async <Added extends Part>(title: string, work: () => Promise<Added>): Promise<Added> =>
    parts.add(await step(title, work, ({ name }) => name));
  const service = async (title: string, work: () => Promise<ServicePart>): Promise<string> => {
    const started = await step(title, work, ({ name }) => name);
    await parts.addService(started);
    return started.address.url;
  };
  const companion = async (title: string, work: () => Promise<ServicePart>): Promise<string | undefined> =>
    options.companions === true ? service(title, work) : undefined;
  const pool = (await canRunPool(options, environment, progress)) ? options.pool : undefined;
  if (pool === 'part') {
    const build = { ...(signal === undefined ? {} : { signal }) };
    await step('Building the pool', (one) => buildPool(directory, one, build));
    await ensurePoolFiles(progress, modelFolders(), signal);
  }
  const later = pool === 'background' ? new BackgroundPool(await freePortNear(poolPort), directory) : null;
  if (options.models !== false) await ensureModels(progress, modelFolders(), signal);
  const postgres = await start('PostgreSQL', () => startPostgres(options, environment, directory));
  const migrated = (names: string[]) => (names.length === 0 ? 'up to date' : `${names.length} applied`);
  await step('Migrations', () => migrate(postgres.url), migrated);
  if (seed !== null) {
    await step(
      'Seed',
      () => applySeed(postgres.url, seed),
      () => seed.path,
    );
  }
  const store = await start('Store', () => startStore(options, environment, directory));
  const natsUrl = await companion('NATS', () => startNats(directory));
  const etcdUrl = await companion('etcd', () => startEtcd(directory));
  const registered = {
    ...(natsUrl ? { natsUrl } : {}),
    ...(etcdUrl ? { etcdUrl } : {}),
    ...(signal ? { signal } : {}),
  };
  const startOwn = () => startPool({ port: poolPort, directory, ...registered });
  const poolUrl = pool === 'part' ? await service('Pool', startOwn) : (later?.url ?? null);
  const tenant = await developmentTenant(directory);
  await step('Development tenant and key', () => provision(postgres.url, tenant));
  const log = join(directory, 'edge.log');
  const logStream = createWriteStream(log, { mode: 0o600 });
  const onLine = (line: string) => void logStream.write(`${line}\n`);
  const variables = edgeVariables(postgres, store, tenant.tenantId, poolUrl, environment);
  const edge = await start('Edge', () => startEdge({ host, port, directory, variables, onLine, signal }));
  if (forwardedPorts.length > 0) await start('Service ports', () => startForwards(forwardedPorts, port));
  await companion('Prometheus', () => startPrometheus({ edgeUrl: edge.url, poolUrl }, directory));
  if (later !== null) await parts.add(later);
  await parts.record(true, edge.url);
  return {
    url: edge.url,
    key: tenant.key,
    tenantId: tenant.tenantId,
    databaseUrl: postgres.url,
    storeUrl: store.url,
    storeToken: store.token,
    redisUrl: store.redisUrl,
    log,
    addresses: parts.addresses,
    beginBackground: (told) => later?.begin(told, () => parts.record(true)),
    failed: parts.failed,
    stop: () => parts.stop(),
  };
}

/** Starts everything and answers once the edge does. Where a part fails, those before it are stopped again. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { port, directory = stateDirectory, progress = silentProgress } = options;
  const seed = options.seed ? await readSeed(options.seed) : null;
  await claim(directory, port, progress);
  const parts = new RunningParts(directory, `http://localhost:${port}`);
  await parts.record(false);
  try {
    return await startParts(options, directory, seed, parts);
  } catch (error) {
    await parts.stop();
    throw error;
  }
}
