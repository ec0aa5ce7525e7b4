/** Cloudflare Workers: the entry, and all that the product knows of this host. */
import cacheModule from '../../wasm-go/dist/cache.wasm';
import routingModule from '../../wasm-go/dist/routing.wasm';
import analyticsModule from '../../wasm-rust/pkg/analytics/treeline_analytics_bg.wasm';
import inferenceModule from '../../wasm-rust/pkg/inference/treeline_inference_bg.wasm';
import searchModule from '../../wasm-rust/pkg/search/treeline_search_bg.wasm';
import staticModelBytes from '../../wasm-rust/pkg/static/treeline-static-v1.tlm';
import { createApp } from '../app.ts';
import { type Configuration, parseConfiguration } from '../configuration.ts';
import type { ObjectStore, Platform, SearchDriver, WasmModules } from '../ports.ts';
import { createSupabaseIdentity } from './identity-supabase.ts';
import { createUpstashStore } from './redis-upstash.ts';
import { durableSearches, type SearchNamespace, searchObject } from './searches-durable.ts';
import { durableSingletons, type SingletonNamespace } from './singletons-durable.ts';
import { createSql } from './sql-select.ts';
import { unconfiguredSql } from './sql-unconfigured.ts';
import { systemClock, systemLog, systemRandom } from './system.ts';

export { Singleton } from './singletons-durable.ts';

interface Bucket {
  get(name: string): Promise<{ body: ReadableStream<Uint8Array> } | null>;
}

/** Bindings of `wrangler.toml`; plain variables and secrets are read through `parseConfiguration`. */
interface Bindings extends Record<string, unknown> {
  readonly ASSETS: { fetch(address: string): Promise<Response> };
  /** Weights in R2, where they are not static assets. */
  readonly MODELS?: Bucket;
  readonly HYPERDRIVE?: { readonly connectionString: string };
  readonly SINGLETON: SingletonNamespace;
  readonly SEARCH: SearchNamespace;
  /** A certificate of `mtls_certificates`, where the pool's nodes ask for one. */
  readonly POOL?: { fetch: typeof fetch };
}

interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void;
}

/** Weights from R2 where it is bound, else from the static assets. */
function objectStore(bindings: Bindings): ObjectStore {
  return {
    async open(name) {
      if (bindings.MODELS !== undefined) return (await bindings.MODELS.get(name))?.body ?? null;
      const response = await bindings.ASSETS.fetch(`https://assets.invalid/${name}`);
      return response.ok ? response.body : null;
    },
  };
}

/** Workers compile at deployment, never at run time, and have relaxed SIMD. */
const wasm: WasmModules = {
  async compiled(name) {
    const modules = { cache: cacheModule, routing: routingModule, inference: inferenceModule };
    return { ...modules, analytics: analyticsModule, search: searchModule }[name];
  },
};

function poolFetch({ POOL: pool }: Bindings): typeof fetch | null {
  return pool === undefined ? null : (input, init) => pool.fetch(input, init);
}

function createPlatform(bindings: Bindings, configuration: Configuration): Platform {
  const databaseUrl = bindings.HYPERDRIVE?.connectionString ?? configuration.databaseUrl;
  const { neonProxy, redis, supabase } = configuration;
  return {
    name: 'workers',
    clock: systemClock,
    random: systemRandom,
    log: systemLog,
    // A connection cannot outlive the request that opened it; Hyperdrive and Neon keep the pool.
    sql:
      databaseUrl === null
        ? unconfiguredSql
        : createSql({ databaseUrl, perCall: true, neonProxy: neonProxy ?? undefined }),
    sharedStore: redis === null ? null : createUpstashStore(redis),
    objects: objectStore(bindings),
    wasm,
    singletons: durableSingletons(bindings.SINGLETON),
    searches: durableSearches(bindings.SEARCH, (drive) => {
      driveSearch = drive;
    }),
    poolFetch: poolFetch(bindings),
    identity: supabase === null ? null : createSupabaseIdentity(supabase),
    staticModel: async () => new Uint8Array(staticModelBytes),
  };
}

let app: ReturnType<typeof createApp> | null = null;
let driveSearch: SearchDriver | null = null;

/** The isolate's one application, for requests and durable objects alike: the modules' glue is the isolate's too. */
function applicationOf(bindings: Bindings): ReturnType<typeof createApp> {
  if (app === null) {
    const configuration = parseConfiguration(bindings);
    app = createApp(createPlatform(bindings, configuration), configuration);
  }
  return app;
}

/** The durable object of one search. */
export class Search extends searchObject<Bindings>((bindings) => {
  applicationOf(bindings);
  if (driveSearch === null) throw new Error('The application has named no driver of searches.');
  return driveSearch;
}) {}

export default {
  fetch(request: Request, bindings: Bindings, context: ExecutionContext): Response | Promise<Response> {
    const background = { run: (work: Promise<unknown>) => context.waitUntil(work) };
    return applicationOf(bindings).fetch(request, { background });
  },
};
