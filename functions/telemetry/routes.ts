/** `GET /metrics` in Prometheus' exposition format, and `GET /api/v1/tracing/trace`, the caller's own traces. */
import { createRoute, z } from '@hono/zod-openapi';
import { ApiError } from '../errors.ts';
import { createRouter, failures, security } from '../openapi.ts';
import type { Caller } from '../tenancy/caller.ts';
import type { Metrics } from './metrics.ts';
import { type TraceStore, tracesMax } from './traces.ts';

const spanSchema = z.object({
  span_id: z.string(),
  parent_span_id: z.string().nullable(),
  name: z.string(),
  start: z.string(),
  duration_ms: z.number(),
  status: z.enum(['ok', 'error']),
  attributes: z.record(z.string(), z.unknown()),
});

const traceSchema = z
  .object({
    trace_id: z.string(),
    name: z.string(),
    start: z.string(),
    duration_ms: z.number(),
    spans: z.array(spanSchema),
    spans_dropped: z.int(),
  })
  .openapi('Trace');

const traceIdSchema = z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hexadecimal digits');

const tracesRoute = createRoute({
  method: 'get',
  path: '/api/v1/tracing/trace',
  summary: 'The caller’s latest traces in this isolate, or the one that trace_id names',
  security,
  request: {
    query: z.object({
      trace_id: traceIdSchema.optional(),
      limit: z.coerce.number().int().min(1).max(tracesMax).default(20),
    }),
  },
  responses: {
    200: {
      description: 'Newest first',
      content: { 'application/json': { schema: z.object({ traces: z.array(traceSchema) }) } },
    },
    ...failures('problem', 404),
  },
});

const traceRoute = createRoute({
  method: 'get',
  path: '/api/v1/tracing/trace/{id}',
  summary: 'The caller’s requests under one trace id',
  security,
  request: { params: z.object({ id: traceIdSchema }) },
  responses: {
    200: {
      description: 'Newest first; a client may have sent several requests under one id',
      content: { 'application/json': { schema: z.object({ traces: z.array(traceSchema) }) } },
    },
    ...failures('problem', 404),
  },
});

const metricsRoute = createRoute({
  method: 'get',
  path: '/metrics',
  summary: 'Counters and histograms of this isolate',
  security,
  responses: {
    200: { description: 'Prometheus text format', content: { 'text/plain': { schema: z.string() } } },
    ...failures('problem'),
  },
});

/** Mounts them. */
export function telemetryRoutes(services: { metrics: Metrics; traces: TraceStore }) {
  const { metrics, traces } = services;
  const find = ({ tenantId }: Caller, traceId: string) => {
    const found = traces.find(tenantId, traceId);
    if (found.length > 0) return { traces: found.map(toJson) };
    throw new ApiError('trace_not_found', 'This isolate holds no trace of yours with that id.');
  };
  return createRouter()
    .openapi(metricsRoute, async (context) => {
      return context.text(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType });
    })
    .openapi(tracesRoute, (context) => {
      const { trace_id: traceId, limit } = context.req.valid('query');
      const caller = context.get('caller');
      if (traceId !== undefined) return context.json(find(caller, traceId), 200);
      return context.json({ traces: traces.latest(caller.tenantId, limit).map(toJson) }, 200);
    })
    .openapi(traceRoute, (context) => context.json(find(context.get('caller'), context.req.valid('param').id), 200));
}

const toJson = (trace: ReturnType<TraceStore['latest']>[number]) => ({ ...trace, spans: [...trace.spans] });
