import { expect, test } from 'vitest';
import { ManualClock, seededRandom } from '../../tests/support/ports.ts';
import { spansPerTraceMax, TraceStore, tenantAttribute, tracesMax } from './traces.ts';
import { createTracer, parentOf, Steps } from './tracing.ts';

function setUp() {
  const clock = new ManualClock();
  const store = new TraceStore();
  const tracer = createTracer(seededRandom(7), [store]);
  const request = async (tenantId: string, options: { traceparent?: string; steps?: number; fails?: boolean } = {}) => {
    const steps = new Steps(tracer, clock, 'GET /x', parentOf(options.traceparent));
    for (let step = 0; step < (options.steps ?? 1); step += 1) {
      await steps
        .run(`step ${step}`, () => {
          clock.advance(2);
          if (options.fails === true) throw new TypeError('told to fail');
        })
        .catch(() => {});
    }
    steps.request.setAttribute(tenantAttribute, tenantId);
    steps.end();
    return steps.traceId;
  };
  return { store, request };
}

test('a request is one trace whose steps have it as their parent', async () => {
  const { store, request } = setUp();
  const traceId = await request('a', { steps: 2 });
  const [trace] = store.find('a', traceId);
  const root = trace?.spans.at(-1);
  expect(trace).toMatchObject({ trace_id: traceId, name: 'GET /x', duration_ms: 4, spans_dropped: 0 });
  expect(trace?.spans.map(({ name, parent_span_id }) => [name, parent_span_id])).toEqual([
    ['step 0', root?.span_id],
    ['step 1', root?.span_id],
    ['GET /x', null],
  ]);
});

test('only its own tenant reads a trace, and never sees the attribute that names the tenant', async () => {
  const { store, request } = setUp();
  const traceId = await request('a');
  expect(store.find('b', traceId)).toEqual([]);
  expect(store.latest('b', 10)).toEqual([]);
  expect(JSON.stringify(store.find('a', traceId))).not.toContain(tenantAttribute);
});

test('a tenant who sends the trace id of another one reads its own request alone', async () => {
  const { store, request } = setUp();
  const traceId = await request('a', { steps: 3 });
  await request('b', { traceparent: `00-${traceId}-00f067aa0ba902b7-01` });
  expect(store.find('a', traceId).map(({ spans }) => spans.length)).toEqual([4]);
  expect(store.find('b', traceId).map(({ spans }) => spans.length)).toEqual([2]);
});

test('two requests under one trace id are two records, newest first', async () => {
  const { store, request } = setUp();
  const traceId = await request('a', { steps: 0 });
  await request('a', { steps: 1, traceparent: `00-${traceId}-00f067aa0ba902b7-01` });
  expect(store.find('a', traceId).map(({ spans }) => spans.length)).toEqual([2, 1]);
});

test('the oldest trace leaves when one more than the bound comes', async () => {
  const { store, request } = setUp();
  const first = await request('a');
  const second = await request('a');
  for (let count = 2; count < tracesMax; count += 1) await request('a');
  expect(store.find('a', first)).toHaveLength(1);
  const last = await request('a');
  expect(store.find('a', first)).toEqual([]);
  expect(store.find('a', second)).toHaveLength(1);
  expect(store.latest('a', 1)[0]?.trace_id).toBe(last);
  expect(store.latest('a', tracesMax + 10)).toHaveLength(tracesMax);
});

test('spans over the bound are counted, and the request itself is still named', async () => {
  const { store, request } = setUp();
  const traceId = await request('a', { steps: spansPerTraceMax + 5 });
  const [trace] = store.find('a', traceId);
  expect(trace).toMatchObject({ name: 'GET /x', spans_dropped: 6 });
  expect(trace?.spans).toHaveLength(spansPerTraceMax);
});

test('a step that fails is marked with the kind of error and not with its message', async () => {
  const { store, request } = setUp();
  const traceId = await request('a', { fails: true });
  const [step] = store.find('a', traceId)[0]?.spans ?? [];
  expect(step).toMatchObject({ status: 'error', attributes: { 'error.type': 'TypeError' } });
  expect(JSON.stringify(step)).not.toContain('told to fail');
});
