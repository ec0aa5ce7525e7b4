/**
 * Spans by OpenTelemetry. Parents are passed by hand (a `Steps` of the request), since no context manager works the
 * same on every host. Workers' clocks stand still while code computes, so spans without I/O may show 0 ms there.
 */
import type { Context as OtelContext, Span, Tracer } from '@opentelemetry/api';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { BasicTracerProvider, type IdGenerator, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { hex } from '../digest.ts';
import type { Clock, Random } from '../ports.ts';

/** Identifiers from the host's random source. */
function idGenerator(random: Random): IdGenerator {
  return {
    generateTraceId: () => hex(random.bytes(16)),
    generateSpanId: () => hex(random.bytes(8)),
  };
}

/** Makes the tracer that all requests of the isolate share. */
export function createTracer(random: Random, processors: SpanProcessor[]): Tracer {
  return new BasicTracerProvider({ idGenerator: idGenerator(random), spanProcessors: processors }).getTracer(
    'treeline',
  );
}

/** The parent that `traceparent` names (W3C Trace Context, level 1), or the root where it is absent or malformed. */
export function parentOf(traceparent: string | undefined): OtelContext {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? '');
  const [, traceId, spanId, flags] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return ROOT_CONTEXT;
  // What the caller sampled or not is the caller's; our own store keeps every request.
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) | TraceFlags.SAMPLED, isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, context);
}

/** `span` as a `traceparent` header, for a call to an upstream. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

/** The steps of one request: each a span under the request's own, and a figure in `Server-Timing`. */
export class Steps {
  readonly request: Span;
  readonly #tracer: Tracer;
  readonly #clock: Clock;
  readonly #timings: string[] = [];
  readonly #parent: OtelContext;

  constructor(tracer: Tracer, clock: Clock, name: string, parent: OtelContext) {
    this.#tracer = tracer;
    this.#clock = clock;
    this.request = tracer.startSpan(name, { kind: SpanKind.SERVER, startTime: clock.now() }, parent);
    this.#parent = trace.setSpan(parent, this.request);
  }

  get traceId(): string {
    return this.request.spanContext().traceId;
  }

  /** Runs `work` as the step `name`; a thrown error marks the span and goes on to the caller. */
  async run<Result>(name: string, work: (span: Span) => Result | Promise<Result>): Promise<Result> {
    const startedAt = this.#clock.elapsed();
    const span = this.#tracer.startSpan(name, { startTime: this.#clock.now() }, this.#parent);
    try {
      return await work(span);
    } catch (thrown) {
      fail(span, thrown);
      throw thrown;
    } finally {
      span.end(this.#clock.now());
      this.#timings.push(`${name};dur=${(this.#clock.elapsed() - startedAt).toFixed(3)}`);
    }
  }

  /** The value of the `Server-Timing` header: the steps that have ended, in milliseconds. */
  get serverTiming(): string {
    return this.#timings.join(', ');
  }

  end(): void {
    this.request.end(this.#clock.now());
  }
}

/** Marks `span` as failed. The message of an unforeseen error may hold data of the request, so only its kind is kept. */
export function fail(span: Span, thrown: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute('error.type', thrown instanceof Error ? thrown.name : typeof thrown);
}
