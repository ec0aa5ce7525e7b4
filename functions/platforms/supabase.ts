/** Supabase Edge Functions (Deno): the entry, and all that the product knows of this host. */
import { createApp } from '../app.ts';
import { type Configuration, parseConfiguration } from '../configuration.ts';
import type { ObjectStore, Platform, WasmModuleName, WasmModules } from '../ports.ts';
import { hasRelaxedSimd } from '../wasm/relaxed-simd.ts';
import { createSupabaseIdentity } from './identity-supabase.ts';
import { createBucketStore } from './objects-supabase.ts';
import { createUpstashStore } from './redis-upstash.ts';
import { createSqlSearches } from './sql-searches.ts';
import { createSql } from './sql-select.ts';
import { createSqlSingletons } from './sql-singletons.ts';
import { unconfiguredSql } from './sql-unconfigured.ts';
import { systemClock, systemLog, systemRandom } from './system.ts';

/** Files that travel with the function (`static_files` in `supabase/config.toml`). */
const inferenceFile = hasRelaxedSimd() ? 'treeline_inference_bg.wasm' : 'treeline_inference_plain_bg.wasm';
const files: Record<WasmModuleName | 'static-model', URL> = {
  cache: new URL('../../wasm-go/dist/cache.wasm', import.meta.url),
  routing: new URL('../../wasm-go/dist/routing.wasm', import.meta.url),
  inference: new URL(`../../wasm-rust/pkg/inference/${inferenceFile}`, import.meta.url),
  search: new URL('../../wasm-rust/pkg/search/treeline_search_bg.wasm', import.meta.url),
  analytics: new URL('../../wasm-rust/pkg/analytics/treeline_analytics_bg.wasm', import.meta.url),
  'static-model': new URL('../../wasm-rust/pkg/static/treeline-static-v1.tlm', import.meta.url),
};

const wasm: WasmModules = {
  compiled: async (name) => WebAssembly.compile(await Deno.readFile(files[name])),
};

/** Weights from a folder; for a machine of one's own. */
function folderStore(folder: string): ObjectStore {
  return {
    async open(name) {
      try {
        return (await Deno.open(`${folder}/${name}`)).readable;
      } catch (thrown) {
        if (thrown instanceof Deno.errors.NotFound) return null;
        throw thrown;
      }
    },
  };
}

function objectStore({ supabase, modelFolder }: Configuration): ObjectStore {
  if (supabase !== null && supabase.modelBucket !== null) return createBucketStore(supabase, supabase.modelBucket);
  return folderStore(modelFolder ?? new URL('../../.treeline/assets', import.meta.url).pathname);
}

/** `fetch` with the certificate of `POOL_CERTIFICATE`, where one is given; null else. */
function poolFetch({ pool }: Configuration): typeof fetch | null {
  if (pool.tls === null) return null;
  const { certificate, key, authority } = pool.tls;
  const caCerts = authority === null ? [] : [authority];
  const client = Deno.createHttpClient({ caCerts, ...(certificate === null ? {} : { cert: certificate, key }) });
  return (input, init) => fetch(input, { ...init, client } as RequestInit);
}

function createPlatform(configuration: Configuration): Platform {
  const { databaseUrl, neonProxy, redis, supabase } = configuration;
  const sql =
    databaseUrl === null
      ? unconfiguredSql
      : createSql({ databaseUrl, perCall: false, neonProxy: neonProxy ?? undefined });
  return {
    name: 'supabase',
    clock: systemClock,
    random: systemRandom,
    log: systemLog,
    sql,
    sharedStore: redis === null ? null : createUpstashStore(redis),
    objects: objectStore(configuration),
    wasm,
    poolFetch: poolFetch(configuration),
    singletons: createSqlSingletons(sql, systemClock, systemRandom),
    searches: createSqlSearches({ sql, clock: systemClock, log: systemLog }),
    identity: supabase === null ? null : createSupabaseIdentity(supabase),
    staticModel: () => Deno.readFile(files['static-model']),
  };
}

const background = {
  run(work: Promise<unknown>): void {
    // Supabase keeps the worker alive for it; plain Deno does so by itself.
    if (typeof EdgeRuntime === 'undefined') work.catch((thrown: unknown) => systemLog.write('error', String(thrown)));
    else EdgeRuntime.waitUntil(work);
  },
};

/** The method that no `Request` may have (Fetch standard), so that one that came with it cannot be passed on. */
const refuseTrace = (): Response => new Response(null, { status: 405, headers: { allow: 'GET, HEAD, POST, OPTIONS' } });

/** Serves the function `name`, whose addresses begin with `/name`. */
export function serve(name: string): void {
  const configuration = parseConfiguration({ DATABASE_URL: Deno.env.get('SUPABASE_DB_URL'), ...Deno.env.toObject() });
  const app = createApp(createPlatform(configuration), configuration);
  Deno.serve((request) => {
    if (request.method === 'TRACE') return refuseTrace();
    const address = new URL(request.url);
    const prefix = `/${name}`;
    if (address.pathname === prefix || address.pathname.startsWith(`${prefix}/`)) {
      address.pathname = address.pathname.slice(prefix.length) || '/';
    }
    return app.fetch(new Request(address, request), { background });
  });
}
