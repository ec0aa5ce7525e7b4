/**
 * Sends ended spans to an OpenTelemetry collector as OTLP over HTTP with JSON. Spans wait in a bounded queue and leave in
 * the background after an answer; what does not fit or cannot be sent is counted, never retried for ever.
 * Source: OpenTelemetry Protocol 1.5, "OTLP/HTTP".
 */
import type { Context } from '@opentelemetry/api';
import type { ReadableSpan, Span, SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Metrics } from './metrics.ts';

/** Spans that wait for the collector. */
const queueMax = 2_048;
/** Time that one export may take, in milliseconds. */
const exportTimeoutMs = 5_000;

const nanoseconds = ([seconds, nanos]: [number, number]): string =>
  String(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));

function toValue(value: unknown): Record<string, unknown> {
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  return typeof value === 'boolean' ? { boolValue: value } : { stringValue: String(value) };
}

const toAttributes = (attributes: Record<string, unknown>) =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: toValue(value) }));

/** One span in OTLP's JSON encoding: identifiers in hex, times in nanoseconds as decimal strings. */
function toOtlp(span: ReadableSpan): Record<string, unknown> {
  const { traceId, spanId } = span.spanContext();
  return {
    traceId,
    spanId,
    ...(span.parentSpanContext === undefined ? {} : { parentSpanId: span.parentSpanContext.spanId }),
    name: span.name,
    kind: span.kind + 1,
    startTimeUnixNano: nanoseconds(span.startTime),
    endTimeUnixNano: nanoseconds(span.endTime),
    attributes: toAttributes(span.attributes),
    status: { code: span.status.code },
  };
}

/** Queues spans; `flush` sends what waits. */
export class OtlpExporter implements SpanProcessor {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #serviceName: string;
  readonly #metrics: Metrics;
  #waiting: ReadableSpan[] = [];

  constructor(endpoint: string, headers: Readonly<Record<string, string>>, serviceName: string, metrics: Metrics) {
    this.#url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
    this.#headers = headers;
    this.#serviceName = serviceName;
    this.#metrics = metrics;
  }

  onStart(_span: Span, _parent: Context): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#waiting.length < queueMax) this.#waiting.push(span);
    else this.#metrics.spansExported.inc({ result: 'dropped' });
  }

  async forceFlush(): Promise<void> {
    const spans = this.#waiting;
    if (spans.length === 0) return;
    this.#waiting = [];
    const resource = { attributes: toAttributes({ 'service.name': this.#serviceName }) };
    const body = {
      resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'treeline' }, spans: spans.map(toOtlp) }] }],
    };
    const sent = await this.#send(JSON.stringify(body));
    this.#metrics.spansExported.inc({ result: sent ? 'sent' : 'failed' }, spans.length);
  }

  async shutdown(): Promise<void> {
    await this.forceFlush();
  }

  async #send(body: string): Promise<boolean> {
    const headers = { 'content-type': 'application/json', ...this.#headers };
    const signal = AbortSignal.timeout(exportTimeoutMs);
    try {
      const response = await fetch(this.#url, { method: 'POST', headers, body, signal });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }
}
