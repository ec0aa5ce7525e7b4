/** Passes a chat call to the upstream and its answer back, as it comes. Free of Hono. */
import { ApiError } from '../errors.ts';
import type { Clock } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { headTimeoutMs, type Upstreams } from './upstreams.ts';

/** Headers of an upstream's answer that are passed on; all others are the upstream's own business. */
const headersPassed = ['content-type', 'x-request-id', 'openai-processing-ms', 'retry-after'];

interface ChatPorts {
  readonly upstreams: Upstreams;
  readonly apiKey: string | null;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly fetch: typeof fetch;
}

/** What goes to the upstream. */
export interface ChatCall {
  /** The body, unchanged. */
  readonly body: Uint8Array;
  readonly traceparent: string;
  /** Aborts with the client's connection. */
  readonly signal: AbortSignal;
  /** Headers of ours that go along. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The upstream's answer, its body not yet read. */
export interface ChatAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
}

/** Status codes that tell of the replica's trouble, not of the request's. */
const isFailure = (status: number): boolean => status >= 500 || status === 429;

/**
 * One call to one replica. Errors of the upstream that concern the request (4xx) are the client's to read and are passed
 * on; a wrong key of ours is not, and becomes `upstream_failed`.
 * @throws ApiError upstream_not_configured, upstream_failed, upstream_timeout
 */
export async function passChat(ports: ChatPorts, call: ChatCall): Promise<ChatAnswer> {
  const { upstreams, clock, metrics } = ports;
  const chosen = await upstreams.choose();
  const upstream = new URL(chosen.baseUrl).host;
  const startedAt = clock.elapsed();
  const settle = (result: string, succeeded: boolean): void => {
    const latencyMs = Math.max(0, clock.elapsed() - startedAt);
    chosen.end(succeeded, latencyMs);
    metrics.upstreamCalls.inc({ upstream, result });
    metrics.upstreamSeconds.observe({ upstream }, latencyMs / 1e3);
  };
  try {
    const response = await request(ports, chosen.baseUrl, call);
    if (response.status === 401 || response.status === 403) {
      await response.body?.cancel();
      throw new ApiError('upstream_failed', 'The upstream refused the key that this deployment uses for it.');
    }
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      // Followed, it would take the key and the tenant's words to an address that nobody configured.
      throw new ApiError('upstream_failed', 'The upstream answered with a redirect, which is not followed.');
    }
    settle(isFailure(response.status) ? 'error' : 'ok', !isFailure(response.status));
    return { status: response.status, headers: passedHeaders(response.headers), body: response.body };
  } catch (thrown) {
    // A client that went away says nothing about the replica.
    settle(call.signal.aborted ? 'aborted' : 'failed', call.signal.aborted);
    throw toUpstreamError(thrown);
  }
}

async function request(ports: ChatPorts, baseUrl: string, call: ChatCall): Promise<Response> {
  const headTimeout = new AbortController();
  const timer = setTimeout(() => headTimeout.abort(new DOMException('no head in time', 'TimeoutError')), headTimeoutMs);
  try {
    return await ports.fetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: {
        ...call.headers,
        'content-type': 'application/json',
        traceparent: call.traceparent,
        ...(ports.apiKey === null ? {} : { authorization: `Bearer ${ports.apiKey}` }),
      },
      body: call.body as Uint8Array<ArrayBuffer>,
      redirect: 'manual',
      signal: AbortSignal.any([call.signal, headTimeout.signal]),
    });
  } finally {
    clearTimeout(timer);
  }
}

function passedHeaders(from: Headers): Headers {
  const headers = new Headers();
  for (const name of headersPassed) {
    const value = from.get(name);
    if (value !== null) headers.set(name, value);
  }
  return headers;
}

function toUpstreamError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const isTimeout = thrown instanceof DOMException && thrown.name === 'TimeoutError';
  return new ApiError(isTimeout ? 'upstream_timeout' : 'upstream_failed', undefined, { cause: thrown });
}
