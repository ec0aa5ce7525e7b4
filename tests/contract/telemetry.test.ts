import { expect, test } from 'vitest';
import { EdgeClient, edge, freshText, model, runningEdge } from './edge.ts';
import { makeKey, usageOf } from './keys.ts';

const client = edge();

/** The value of the metric that `line` begins, summed over the labels that it does not name. */
async function metric(name: string, ...labels: string[]): Promise<number> {
  const text = await (await client.call('/metrics')).text();
  const lines = text
    .split('\n')
    .filter((line) => line.startsWith(name) && labels.every((label) => line.includes(label)));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

interface Span {
  readonly name: string;
  readonly span_id: string;
  readonly parent_span_id: string | null;
  readonly attributes: Record<string, unknown>;
}

async function trace(traceId: string, by = client): Promise<{ status: number; spans: Span[] }> {
  const { status, body } = await by.json(`/api/v1/tracing/trace?trace_id=${traceId}`);
  return { status, spans: body.traces?.flatMap(({ spans }: { spans: Span[] }) => spans) ?? [] };
}

test('counters move with what happens', async () => {
  const names: [string, ...string[]][] = [
    ['treeline_requests_total', 'route="/v1/embeddings"', 'status="200"'],
    ['treeline_requests_total', 'route="/v1/embeddings"', 'status="404"'],
    ['treeline_cache_lookups_total', 'tier="isolate"', 'result="hit"'],
    ['treeline_inference_tokens_total', `model="${model}"`],
    ['treeline_request_duration_seconds_count', 'route="/v1/embeddings"'],
  ];
  const before = await Promise.all(names.map((name) => metric(...name)));
  const input = freshText();
  await client.embed(input);
  await client.embed(input);
  await client.call('/v1/embeddings', { body: { model: 'none', input } });
  const after = await Promise.all(names.map((name) => metric(...name)));
  const moved = after.map((value, at) => value - (before[at] ?? 0));
  expect(moved[0]).toBe(2);
  expect(moved[1]).toBe(1);
  expect(moved[2]).toBe(1);
  expect(moved[3]).toBeGreaterThan(3);
  expect(moved[4]).toBe(3);
});

test('metrics are in the exposition format and name no tenant', async () => {
  const response = await client.call('/metrics');
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  expect(text).toMatch(/^# TYPE treeline_requests_total counter$/m);
  expect(text).not.toContain(runningEdge().tenantId);
  for (const line of text.trim().split('\n')) {
    expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? -?[\d.e+-]+|)$/);
  }
});

test('addresses that nobody made up do not become labels', async () => {
  for (let count = 0; count < 5; count += 1) await (await client.call(`/scan-${crypto.randomUUID()}`)).body?.cancel();
  const text = await (await client.call('/metrics')).text();
  expect(text).not.toContain('scan-');
  expect(await metric('treeline_requests_total', 'route="unmatched"', 'status="404"')).toBeGreaterThanOrEqual(5);
});

test('a call is a trace of its steps, and Server-Timing gives the same steps', async () => {
  const response = await client.call('/v1/embeddings', { body: { model, input: freshText() } });
  await response.body?.cancel();
  const traceId = response.headers.get('x-trace-id') ?? '';
  const { spans } = await trace(traceId);
  const root = spans.find(({ parent_span_id }) => parent_span_id === null);
  expect(root).toMatchObject({
    name: 'POST /v1/embeddings',
    attributes: { 'http.response.status_code': 200, 'gen_ai.request.model': model },
  });
  const steps = spans.filter(({ parent_span_id }) => parent_span_id === root?.span_id).map(({ name }) => name);
  expect(steps).toEqual(['authenticate', 'cache', 'inference']);
  const timing = response.headers.get('server-timing') ?? '';
  expect(timing).toMatch(/^authenticate;dur=[\d.]+, cache;dur=[\d.]+, inference;dur=[\d.]+$/);
});

test('a trace that the caller began is continued', async () => {
  const traceId = crypto.randomUUID().replaceAll('-', '');
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
  const response = await client.call('/v1/models', { headers: { traceparent } });
  await response.body?.cancel();
  expect(response.headers.get('x-trace-id')).toBe(traceId);
  const { spans } = await trace(traceId);
  expect(spans.at(-1)?.parent_span_id).toBe('00f067aa0ba902b7');
});

test('a traceparent that is not valid begins a new trace', async () => {
  const response = await client.call('/v1/models', { headers: { traceparent: '00-zzz-zzz-01' } });
  await response.body?.cancel();
  expect(response.headers.get('x-trace-id')).toMatch(/^[0-9a-f]{32}$/);
});

test('a trace is its tenant’s alone, also for one who sends the same trace id', async () => {
  const { key } = await makeKey(runningEdge().databaseUrl);
  const other = new EdgeClient(runningEdge().url, key);
  const response = await client.call('/v1/embeddings', { body: { model, input: freshText() } });
  await response.body?.cancel();
  const traceId = response.headers.get('x-trace-id') ?? '';
  expect((await trace(traceId, other)).status).toBe(404);
  await other.json('/v1/models', { headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } });
  expect((await trace(traceId, other)).spans.map(({ name }) => name)).not.toContain('inference');
  expect((await trace(traceId)).spans.map(({ name }) => name)).toContain('inference');
  const { body } = await other.json('/api/v1/tracing/trace');
  expect(body.traces.every(({ spans }: { spans: Span[] }) => spans.every(({ name }) => name !== 'inference'))).toBe(
    true,
  );
});

test('the latest traces come newest first, as many as asked for', async () => {
  for (let count = 0; count < 3; count += 1) await (await client.call('/v1/models')).body?.cancel();
  const { body } = await client.json('/api/v1/tracing/trace?limit=2');
  expect(body.traces).toHaveLength(2);
  expect(Date.parse(body.traces[0].start)).toBeGreaterThanOrEqual(Date.parse(body.traces[1].start));
});

test.each(['?trace_id=xyz', '?limit=0', '?limit=100000', '?limit=many'])('traces%s is refused', async (parameters) => {
  const { status, body } = await client.json(`/api/v1/tracing/trace${parameters}`);
  expect([status, body.code]).toEqual([400, 'invalid_request']);
});

test('usage is written for the tenant, tokens and cache hits included', async () => {
  const { databaseUrl, url } = runningEdge();
  const { key, tenantId } = await makeKey(databaseUrl);
  const own = new EdgeClient(url, key);
  const input = freshText();
  await own.embed(input);
  await own.embed(input);
  let rows: Record<string, unknown>[] = [];
  for (let attempt = 0; attempt < 50 && rows.length < 2; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    rows = await usageOf(databaseUrl, tenantId);
  }
  expect(rows).toMatchObject([
    { operation: 'embeddings', model, cache_hit: false },
    { operation: 'embeddings', model, cache_hit: true },
  ]);
  expect(Number(rows[0]?.input_tokens)).toBeGreaterThan(3);
});

test('a trace is found by its address too, and an id that is none is told apart from one that is not there', async () => {
  const called = await client.call('/v1/models');
  const traceId = called.headers.get('x-trace-id');
  const found = await client.json(`/api/v1/tracing/trace/${traceId}`);
  expect(found.status).toBe(200);
  expect(found.body.traces[0].trace_id).toBe(traceId);
  expect((await client.json(`/api/v1/tracing/trace/${'0'.repeat(31)}1`)).status).toBe(404);
  expect((await client.json('/api/v1/tracing/trace/x')).status).toBe(400);
});
