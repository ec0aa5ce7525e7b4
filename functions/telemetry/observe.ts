/** The middleware that every request passes first: its trace, its metrics, and the headers that name them. */

import type { Tracer } from '@opentelemetry/api';
import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { Environment } from '../environment.ts';
import type { Clock, Log } from '../ports.ts';
import type { Metrics } from './metrics.ts';
import { tenantAttribute } from './traces.ts';
import { parentOf, Steps } from './tracing.ts';

/** What the middleware writes to. */
export interface Observers {
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Opens the request's span, and closes it with route, status, metrics and `Server-Timing`. */
export function observe({ clock, tracer, metrics, log }: Observers): MiddlewareHandler<Environment> {
  return async function observeRequest(context, next) {
    const startedAt = clock.elapsed();
    const { method, path } = context.req;
    const steps = new Steps(tracer, clock, `${method} ${path}`, parentOf(context.req.header('traceparent')));
    context.set('steps', steps);
    const requestId = requestIdOf(context.req.header('x-request-id')) ?? steps.traceId;
    await next();
    const route = matchedRoute(routePath(context, -1));
    const { status } = context.res;
    const seconds = Math.max(0, clock.elapsed() - startedAt) / 1e3;
    metrics.requests.inc({ route, method: knownMethod(method), status: String(status) });
    metrics.requestSeconds.observe({ route }, seconds);
    const caller = context.get('caller');
    steps.request.updateName(`${method} ${route}`);
    steps.request.setAttributes({
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
      'treeline.request.id': requestId,
      ...(caller === undefined ? {} : { [tenantAttribute]: caller.tenantId }),
    });
    steps.end();
    context.header('x-request-id', requestId);
    context.header('x-trace-id', steps.traceId);
    if (steps.serverTiming !== '') context.header('server-timing', steps.serverTiming);
    if (status >= 500)
      log.write('error', 'request failed', { route, method, status, trace_id: steps.traceId, request_id: requestId });
  };
}

/** The client's own name for its request, where it is one that a log can hold; null else. */
function requestIdOf(shown: string | undefined): string | null {
  return shown !== undefined && /^[\w.:/+=-]{1,128}$/.test(shown) ? shown : null;
}

/** Paths that no route matched share one label, or a scanner could fill the memory with label values. */
function matchedRoute(path: string): string {
  return path === '*' || path === '/*' || path === '' ? 'unmatched' : path;
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const knownMethod = (method: string): string => (methods.has(method) ? method : 'OTHER');
