/** The command lines of `start`, `start-all` and `stop`: flags, or the same by environment. */
import { parseArgs } from 'node:util';
import type { EdgeHost } from './edge-part.ts';

/** What a start was asked for. */
export interface StartCommand {
  readonly help: boolean;
  readonly host: EdgeHost;
  readonly port: number;
  readonly models: boolean;
  readonly detach: boolean;
  /** An SQL file to run once the migrations are applied; null for none. */
  readonly seed: string | null;
  /** True for this project's own store even where the machine has a Redis. */
  readonly embeddedStore: boolean;
  /** False to leave the inference pool out. */
  readonly pool: boolean;
}

const portsDefault: Record<EdgeHost, number> = { workers: 8787, supabase: 54321 };
const portMax = 65_535;

/** The command line makes no sense; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > portMax) throw new UsageError(`A port is a number from 1 to ${portMax}, not "${text}".`);
  return port;
}

function parseHost(text: string): EdgeHost {
  if (text === 'workers' || text === 'supabase') return text;
  throw new UsageError(`The host is workers or supabase, not "${text}".`);
}

function parseSwitch(name: string, text: string | undefined): boolean {
  if (text === undefined || text === '' || text === '0') return false;
  if (text === '1') return true;
  throw new UsageError(`${name} is 1 or 0, not "${text}".`);
}

/** Whether the pool is wanted: as `POOL` says; where that says nothing, everywhere but on CI, which builds it by itself. */
function wantsPool({ POOL: pool, CI: ci }: Readonly<Record<string, string | undefined>>): boolean {
  if (pool !== undefined && pool !== '') return parseSwitch('POOL', pool);
  return ci === undefined || ci === '' || ci === 'false';
}

function parseFlags(parameters: readonly string[]) {
  try {
    return parseArgs({
      args: [...parameters],
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        port: { type: 'string', short: 'p' },
        host: { type: 'string' },
        'no-models': { type: 'boolean', default: false },
        seed: { type: 'string' },
        'embedded-store': { type: 'boolean', default: false },
        'no-pool': { type: 'boolean', default: false },
        detach: { type: 'boolean', short: 'd', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** Reads `parameters`, with `environment` for what they leave open. Throws `UsageError`. */
export function parseStart(
  parameters: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): StartCommand {
  const flags = parseFlags(parameters);
  const host = parseHost(flags.host ?? (environment.EDGE_HOST || 'workers'));
  const port = flags.port ?? environment.PORT;
  return {
    help: flags.help,
    host,
    port: port ? parsePort(port) : portsDefault[host],
    models: !flags['no-models'],
    detach: flags.detach,
    seed: flags.seed || environment.SEED || null,
    embeddedStore: flags['embedded-store'] || parseSwitch('EMBEDDED_STORE', environment.EMBEDDED_STORE),
    pool: !flags['no-pool'] && wantsPool(environment),
  };
}

/** What `--help` prints; `name` is the script, `what` a sentence on it. */
export function startHelp(name: string, what: string): string {
  return `${what}

Usage: npm run ${name} -- [flags]

  -p, --port PORT   port of the edge (8787; 54321 with --host supabase), or the variable PORT
  --host HOST       workers: in workerd; supabase: the Supabase entry, in Deno (or EDGE_HOST)
  --no-models       do not fetch or check models
  --seed FILE       SQL file to run at each start, once the migrations are applied (or SEED); no commands of psql
  --embedded-store  the store of this project even where the machine has a redis-server (or EMBEDDED_STORE=1)
  --no-pool         without the inference pool (or POOL=0); it needs Go and Rust, and is left out without them
  -d, --detach      return once it answers, and leave it running; end it with: npm run stop
  -h, --help        this text

With DATABASE_URL, UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, or REDIS_URL set, those are used instead of
services of its own. UPSTREAM_BASE_URL, UPSTREAM_API_KEY and UPSTREAM_MODELS tell the edge where chat models are, and
POOL_DIRECTORY_URL where a pool is that runs already.`;
}
