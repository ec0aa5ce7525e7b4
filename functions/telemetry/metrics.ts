/** The product's counters and histograms, in Prometheus' exposition format. Labels are bounded: no tenant, no path. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Bucket bounds in seconds: a static embedding takes microseconds, a language model minutes. */
const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Every metric, by the noun that it counts. */
export interface Metrics {
  readonly registry: Registry;
  readonly requests: Counter<'route' | 'method' | 'status'>;
  readonly requestSeconds: Histogram<'route'>;
  readonly cacheLookups: Counter<'tier' | 'result'>;
  readonly cacheEvictions: Counter<'tier'>;
  readonly cacheWeight: Gauge<'tier'>;
  readonly inferenceSeconds: Histogram<'model'>;
  readonly inferenceTokens: Counter<'model'>;
  readonly modelLoads: Counter<'model' | 'result'>;
  readonly wasmTraps: Counter<'module'>;
  readonly upstreamSeconds: Histogram<'upstream'>;
  readonly upstreamCalls: Counter<'upstream' | 'result'>;
  readonly poolNodes: Gauge;
  readonly poolDirectoryReads: Counter<'result'>;
  readonly poolChoices: Counter<'reason'>;
  readonly usageEvents: Counter<'result'>;
  readonly experimentEvents: Counter<'result'>;
  readonly sharedStoreFailures: Counter<'operation'>;
  readonly spansExported: Counter<'result'>;
}

/** Makes an empty set of metrics; one an isolate. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Counter({ name: `treeline_${name}`, help, labelNames, registers });
  const seconds = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Histogram({ name: `treeline_${name}`, help, labelNames, buckets: secondsBuckets, registers });
  return {
    registry,
    requests: counter('requests_total', 'Requests answered', ['route', 'method', 'status']),
    requestSeconds: seconds('request_duration_seconds', 'Time from request to the head of the answer', ['route']),
    cacheLookups: counter('cache_lookups_total', 'Look-ups by tier and result (hit, miss, error, skipped)', [
      'tier',
      'result',
    ]),
    cacheEvictions: counter('cache_evictions_total', 'Entries that left to make room', ['tier']),
    cacheWeight: new Gauge({
      name: 'treeline_cache_weight_bytes',
      help: 'Bytes held by the isolate’s cache',
      labelNames: ['tier'],
      registers,
    }),
    inferenceSeconds: seconds('inference_duration_seconds', 'Time that a model computed for one request', ['model']),
    inferenceTokens: counter('inference_tokens_total', 'Tokens that a model read', ['model']),
    modelLoads: counter('model_loads_total', 'Attempts to load a model into the isolate', ['model', 'result']),
    wasmTraps: counter('wasm_traps_total', 'Traps after which a module got a fresh instance', ['module']),
    upstreamSeconds: seconds('upstream_duration_seconds', 'Time to the head of an upstream’s answer', ['upstream']),
    upstreamCalls: counter('upstream_calls_total', 'Calls to an upstream by result', ['upstream', 'result']),
    poolNodes: new Gauge({ name: 'treeline_pool_nodes', help: 'Nodes of the pool that take calls', registers }),
    poolDirectoryReads: counter('pool_directory_reads_total', 'Readings of the pool’s nodes by result (ok, failed)', [
      'result',
    ]),
    poolChoices: counter('pool_choices_total', 'Nodes chosen by reason (prefix, load, failover)', ['reason']),
    usageEvents: counter('usage_events_total', 'Usage events by result (stored, retried, dropped)', ['result']),
    experimentEvents: counter(
      'experiment_events_total',
      'Events of experiments by result (stored, retried, dropped, too_old, refused)',
      ['result'],
    ),
    sharedStoreFailures: counter('shared_store_failures_total', 'Calls that the shared store failed', ['operation']),
    spansExported: counter('spans_exported_total', 'Spans sent to the OTLP collector by result', ['result']),
  };
}
