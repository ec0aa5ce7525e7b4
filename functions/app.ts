/**
 * Treeline's edge application. Reads as a table of contents: what each request passes, and which capability answers at
 * which address. The host comes in as a `Platform`; nothing here knows which one it is.
 */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';
import { startAnalytics } from './analytics/analytics-module.ts';
import { experimentModels } from './analytics/experiment-models.ts';
import { Experiments } from './analytics/experiments.ts';
import { analyticsRoutes } from './analytics/routes.ts';
import { boundBody } from './body.ts';
import { CacheCoordinator, isolateEntriesMax, isolateWeightMax } from './cache/coordinator.ts';
import type { Configuration } from './configuration.ts';
import type { Environment } from './environment.ts';
import { errorResponse, toApiError } from './errors.ts';
import { ChatModels } from './gateway/chat-models.ts';
import { ipcRoute } from './gateway/ipc-route.ts';
import { jobRoutes } from './gateway/job-routes.ts';
import { createPool } from './gateway/pool/create-pool.ts';
import { PoolEmbeddings } from './gateway/pool/embeddings.ts';
import { gatewayRoutes } from './gateway/routes.ts';
import { Upstreams } from './gateway/upstreams.ts';
import { EmbeddingService } from './inference/embedding.ts';
import { inferRoute } from './inference/infer-route.ts';
import { openInferenceRoutes } from './inference/open-inference-routes.ts';
import { openAiRoutes } from './inference/openai-routes.ts';
import { WasmEmbeddingEngine } from './inference/wasm-engine.ts';
import { missingRoute } from './missing-route.ts';
import { createRouter } from './openapi.ts';
import type { Platform } from './ports.ts';
import { referencePage } from './reference/page.ts';
import { startSearch } from './search/core/search-module.ts';
import { searchDoor } from './search/door.ts';
import { searchRoutes } from './search/routes.ts';
import { SearchService } from './search/service.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { observe } from './telemetry/observe.ts';
import { OtlpExporter } from './telemetry/otlp.ts';
import { telemetryRoutes } from './telemetry/routes.ts';
import { TraceStore } from './telemetry/traces.ts';
import { createTracer, fail } from './telemetry/tracing.ts';
import { Authentication } from './tenancy/authentication.ts';
import { credentialOf } from './tenancy/caller.ts';
import { UsageLedger } from './tenancy/usage.ts';
import { load, loadCacheIndex, loadRouter, type TrapListener } from './wasm/loader.ts';

/** Addresses that answer without a credential: they tell nothing of any tenant. */
const publicPaths = new Set(['/', '/v2', '/v2/health/live', '/v2/health/ready', '/openapi.json', '/docs']);

/** No page of ours runs a script, is framed, or loads anything; other origins may read answers, by CORS. */
const protection = {
  contentSecurityPolicy: { defaultSrc: ["'none'"], styleSrc: ["'unsafe-inline'"], frameAncestors: ["'none'"] },
  crossOriginResourcePolicy: 'cross-origin',
  xFrameOptions: 'DENY',
  // Without sub-domains: what else lives under the customer's name is the customer's business.
  strictTransportSecurity: 'max-age=15552000',
};

/** Response headers that a page of another origin may read. */
const readableHeaders = [
  'cache-status',
  'server-timing',
  'x-request-id',
  'x-trace-id',
  'retry-after',
  'inference-header-content-length',
  'treeline-decision-id',
  'treeline-arm',
];

/** Runs `make` at the first call and remembers what it gave; a failure is tried again. */
function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | null = null;
  return () => {
    made ??= make().catch((thrown: unknown) => {
      made = null;
      throw thrown;
    });
    return made;
  };
}

/** The same for what is made without waiting. */
function onceNow<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Everything that lives as long as the isolate, made from the host's ports. */
function createServices(platform: Platform, configuration: Configuration) {
  const { clock, random, sql, log, wasm, sharedStore, identity } = platform;
  const metrics = createMetrics();
  const traces = new TraceStore();
  const { otlpEndpoint, otlpHeaders, serviceName } = configuration.telemetry;
  const exporter = otlpEndpoint === null ? null : new OtlpExporter(otlpEndpoint, otlpHeaders, serviceName, metrics);
  const tracer = createTracer(random, exporter === null ? [traces] : [traces, exporter]);
  const onTrap: TrapListener = (trap) => {
    metrics.wasmTraps.inc({ module: trap.module });
    log.write('error', 'a module trapped and was replaced', { module: trap.module, reason: trap.message });
  };
  const limits = { weightMax: isolateWeightMax, entriesMax: isolateEntriesMax };
  const index = once(() => {
    const seed = new DataView(random.bytes(4).buffer).getUint32(0);
    return loadCacheIndex(wasm, { ...limits, seed }, onTrap);
  });
  const router = once(() => loadRouter(wasm, onTrap));
  const nodeRouter = once(() => loadRouter(wasm, onTrap));
  const usage = new UsageLedger({ sql, clock, random, metrics, log });
  const cache = new CacheCoordinator({ clock, sharedStore, metrics, log, index });
  const engine = new WasmEmbeddingEngine({ platform, metrics, onTrap });
  // Called as a method of another object, workerd's fetch refuses ("Illegal invocation").
  const plainFetch: typeof fetch = (input, init) => fetch(input, init);
  const nodeSources = { clock, random, log, metrics, fetch: platform.poolFetch ?? plainFetch, router: nodeRouter };
  const pool = createPool(configuration.pool.directoryUrls, nodeSources);
  const upstreams = new Upstreams(configuration.upstream.baseUrls, { clock, random, router });
  const chat = new ChatModels({ configuration, upstreams, pool, usage, clock, random, metrics });
  const embedding = new EmbeddingService({ engine, remote: new PoolEmbeddings(pool), cache, clock, metrics, usage });
  const search = new SearchService({
    ...{ chat, embedding, clock, random, tracer, usage, log },
    searches: platform.searches,
    singletons: platform.singletons,
    webhooks: { addresses: configuration.search.webhooks, secret: configuration.search.webhookSecret },
    live: once(() => load(wasm, 'search', startSearch, onTrap)),
  });
  const analytics = once(() => load(wasm, 'analytics', startAnalytics, onTrap));
  const experiments = new Experiments({ sql, clock, random, log, metrics, module: analytics });
  return {
    configuration,
    clock,
    random,
    log,
    metrics,
    traces,
    tracer,
    exporter,
    usage,
    chat,
    search,
    experiments,
    virtualModels: [searchDoor({ search, clock, random }), experimentModels({ experiments, chat, clock, log })],
    authentication: new Authentication({ sql, identity, clock }, configuration.anonymousTenantId),
    embedding,
    pool,
  };
}

/** The application for one isolate. `fetch(request, { background })` answers a request. */
export function createApp(platform: Platform, configuration: Configuration): OpenAPIHono<Environment> {
  const services = createServices(platform, configuration);
  const { authentication, embedding, exporter, log, usage } = services;
  const app = createRouter();

  app.use(observe(services));
  // Credentials travel in headers, never in cookies, so any page may call; what it may read is listed.
  app.use(cors({ origin: '*', exposeHeaders: readableHeaders, maxAge: 600 }));
  app.use(secureHeaders(protection));
  app.use(async (context, next) => {
    await next();
    context.env.background.run(Promise.all([usage.flush(), exporter?.forceFlush()]));
  });
  app.use(async (context, next) => {
    if (publicPaths.has(context.req.path)) return next();
    const credential = credentialOf((name) => context.req.header(name));
    const caller = await context.get('steps').run('authenticate', () => authentication.authenticate(credential));
    context.set('caller', caller);
    return next();
  });
  app.use(boundBody());
  app.use(async (context, next) => {
    const caller = context.get('caller');
    if (caller !== undefined) services.search.takeUp(caller.tenantId, context.env.background);
    return next();
  });

  app.get('/', (context) =>
    context.json({ name: 'treeline', version: '0.1.0', documentation: '/docs', openapi: '/openapi.json' }),
  );
  app.route('/', openAiRoutes(embedding));
  app.route('/', openInferenceRoutes(embedding));
  app.route('/', inferRoute(embedding));
  app.route('/', gatewayRoutes(services));
  app.route('/', searchRoutes(services));
  app.route('/', analyticsRoutes(services));
  app.route('/', jobRoutes(services));
  app.route('/', ipcRoute(services));
  app.route('/', telemetryRoutes(services));

  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', { type: 'http', scheme: 'bearer' });
  app.openAPIRegistry.registerComponent('securitySchemes', 'xApiKey', {
    type: 'apiKey',
    in: 'header',
    name: 'x-api-key',
  });
  const description = {
    openapi: '3.1.0',
    info: { title: 'Treeline', version: '0.1.0', description: 'One address in front of every model.' },
  };
  // Both are public and never change, so they are made once, at the first call.
  const document = onceNow(() => app.getOpenAPI31Document(description));
  const page = onceNow(() => referencePage(document()));
  app.get('/openapi.json', (context) => context.json(document()));
  app.get('/docs', (context) => context.html(page()));

  const missing = missingRoute(app.routes);
  app.notFound((context) => {
    const { error, allowed } = missing(context.req.method, context.req.path);
    const response = errorResponse(context, error, context.get('steps').traceId);
    if (allowed.length > 0) response.headers.set('allow', allowed.join(', '));
    return response;
  });
  app.onError((thrown, context) => {
    const error = toApiError(thrown);
    const steps = context.get('steps');
    if (error.status >= 500) {
      fail(steps.request, thrown);
      const { message } = error.cause instanceof Error ? error.cause : error;
      log.write('error', message, { code: error.code, trace_id: steps.traceId });
    }
    return errorResponse(context, error, steps.traceId);
  });
  return app;
}
