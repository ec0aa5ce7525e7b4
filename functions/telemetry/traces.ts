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
  readonly #traces = new Map<string, StoredTrace>();

  onStart(_span: Span, _parent: Context): void {}

  onEnd(span: ReadableSpan): void {
    const { traceId } = span.spanContext();
    const trace = this.#traces.get(traceId) ?? this.#add(traceId);
    const record = toRecord(span);
    if (trace.spans.length < spansPerTraceMax) trace.spans.push(record);
    else trace.spansDropped += 1;
    const tenantId = span.attributes[tenantAttribute];
    if (typeof tenantId === 'string') trace.tenantId = tenantId;
    if (span.parentSpanContext === undefined || span.parentSpanContext.isRemote === true) trace.root = record;
  }

  /** The latest traces of `tenantId`, newest first, at most `limit`. */
  latest(tenantId: string, limit: number): TraceRecord[] {
    const found: TraceRecord[] = [];
    for (const [traceId, trace] of [...this.#traces].reverse()) {
      if (found.length >= limit) break;
      if (trace.tenantId === tenantId) found.push(this.#toTrace(traceId, trace));
    }
    return found;
  }

  /** The trace `traceId`, or null where it is not there or is another tenant's. */
  find(tenantId: string, traceId: string): TraceRecord | null {
    const trace = this.#traces.get(traceId);
    return trace === undefined || trace.tenantId !== tenantId ? null : this.#toTrace(traceId, trace);
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {
    this.#traces.clear();
  }

  #add(traceId: string): StoredTrace {
    const oldest = this.#traces.size >= tracesMax ? this.#traces.keys().next().value : undefined;
    if (oldest !== undefined) this.#traces.delete(oldest);
    const trace: StoredTrace = { tenantId: null, spans: [], spansDropped: 0, root: null };
    this.#traces.set(traceId, trace);
    return trace;
  }

  #toTrace(traceId: string, { spans, spansDropped, root }: StoredTrace): TraceRecord {
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
}
