/** The last traces of this isolate, for `GET /api/v1/tracing/trace`. Older ones leave when newer ones come. */
import type { Context } from '@opentelemetry/api';
import { SpanStatusCode } from '@opentelemetry/api';
import type { ReadableSpan, Span, SpanProcessor } from '@opentelemetry/sdk-trace-base';

/** Traces that one isolate keeps. */
export const tracesMax = 512;
/** Spans kept of one trace; further ones are counted in `spans_dropped`. */
export const spansPerTraceMax = 128;

/** The attribute that binds a trace to the tenant who may read it. */
export const tenantAttribute = 'treeline.tenant.id';

/** One step of a request, times in milliseconds. */
export interface SpanRecord {
  readonly span_id: string;
  readonly parent_span_id: string | null;
  readonly name: string;
  readonly start: string;
  readonly duration_ms: number;
  readonly status: 'ok' | 'error';
  readonly attributes: Record<string, unknown>;
}

/** One request and its steps, in the order in which they ended. */
export interface TraceRecord {
  readonly trace_id: string;
  readonly name: string;
  readonly start: string;
  readonly duration_ms: number;
  readonly spans: readonly SpanRecord[];
  readonly spans_dropped: number;
}

interface StoredTrace {
  readonly traceId: string;
  tenantId: string | null;
  spans: SpanRecord[];
  spansDropped: number;
  root: SpanRecord | null;
}

const milliseconds = ([seconds, nanoseconds]: [number, number]): number => seconds * 1e3 + nanoseconds / 1e6;

function toRecord(span: ReadableSpan): SpanRecord {
  const { [tenantAttribute]: _tenant, ...attributes } = span.attributes;
  return {
    span_id: span.spanContext().spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? null,
    name: span.name,
    start: new Date(milliseconds(span.startTime)).toISOString(),
    duration_ms: Math.round(milliseconds(span.duration) * 1e3) / 1e3,
    status: span.status.code === SpanStatusCode.ERROR ? 'error' : 'ok',
    attributes,
  };
}

/** Keeps ended spans by trace, bounded, readable by the tenant whose request it was. */
export class TraceStore implements SpanProcessor {
  /** By request, oldest first. */
  readonly #traces = new Map<string, StoredTrace>();

  onStart(_span: Span, _parent: Context): void {}

  onEnd(span: ReadableSpan): void {
    const requestId = requestOf(span);
    const trace = this.#traces.get(requestId) ?? this.#add(requestId, span.spanContext().traceId);
    const record = toRecord(span);
    if (trace.spans.length < spansPerTraceMax) trace.spans.push(record);
    else trace.spansDropped += 1;
    const tenantId = span.attributes[tenantAttribute];
    if (typeof tenantId === 'string') trace.tenantId = tenantId;
    if (isRoot(span)) trace.root = record;
  }

  /** The latest traces of `tenantId`, newest first, at most `limit`. */
  latest(tenantId: string, limit: number): TraceRecord[] {
    const found: TraceRecord[] = [];
    for (const trace of [...this.#traces.values()].reverse()) {
      if (found.length >= limit) break;
      if (trace.tenantId === tenantId) found.push(toTrace(trace));
    }
    return found;
  }

  /** The requests of `tenantId` under the trace id `traceId`, newest first; a client may have sent several. */
  find(tenantId: string, traceId: string): TraceRecord[] {
    const own = [...this.#traces.values()].filter((trace) => trace.traceId === traceId && trace.tenantId === tenantId);
    return own.reverse().map(toTrace);
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {
    this.#traces.clear();
  }

  #add(requestId: string, traceId: string): StoredTrace {
    const oldest = this.#traces.size >= tracesMax ? this.#traces.keys().next().value : undefined;
    if (oldest !== undefined) this.#traces.delete(oldest);
    const trace: StoredTrace = { traceId, tenantId: null, spans: [], spansDropped: 0, root: null };
    this.#traces.set(requestId, trace);
    return trace;
  }
}

/** Whether `span` is a request's own: it has no parent in this isolate. */
const isRoot = ({ parentSpanContext }: ReadableSpan): boolean =>
  parentSpanContext === undefined || parentSpanContext.isRemote === true;

/**
 * The request that `span` belongs to. Never the trace id alone: a client chooses that one by its `traceparent`, and
 * would read another tenant's steps by sending theirs.
 */
const requestOf = (span: ReadableSpan): string =>
  isRoot(span) ? span.spanContext().spanId : (span.parentSpanContext?.spanId ?? '');

function toTrace({ traceId, spans, spansDropped, root }: StoredTrace): TraceRecord {
  const head = root ?? spans[0];
  return {
    trace_id: traceId,
    name: head?.name ?? 'unknown',
    start: head?.start ?? '',
    duration_ms: head?.duration_ms ?? 0,
    spans,
    spans_dropped: spansDropped,
  };
}
