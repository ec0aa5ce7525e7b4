import { afterEach, expect, test } from 'vitest';
import { startHttpServer, type TestServer } from '../../tests/support/http-server.ts';
import { ManualClock, seededRandom } from '../../tests/support/ports.ts';
import { createMetrics } from './metrics.ts';
import { OtlpExporter } from './otlp.ts';
import { createTracer, parentOf, Steps } from './tracing.ts';

interface Received {
  readonly path: string | undefined;
  readonly headers: Record<string, unknown>;
  readonly body: { resourceSpans: { resource: object; scopeSpans: { spans: Record<string, unknown>[] }[] }[] };
}

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function collector(status = 200): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const server = await startHttpServer((request, body, response) => {
    received.push({ path: request.url, headers: request.headers, body: JSON.parse(body.toString()) });
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  servers.push(server);
  return { url: server.url, received };
}

function setUp(endpoint: string) {
  const metrics = createMetrics();
  const clock = new ManualClock(1_700_000_000_123);
  const exporter = new OtlpExporter(endpoint, { 'x-collector-key': 'k' }, 'edge-under-test', metrics);
  const tracer = createTracer(seededRandom(3), [exporter]);
  const request = async (traceparent?: string) => {
    const steps = new Steps(tracer, clock, 'GET /x', parentOf(traceparent));
    await steps.run('cache', (span) => {
      span.setAttributes({ hit: true, weight: 12, share: 0.5, tier: 'isolate' });
      clock.advance(4);
    });
    steps.end();
  };
  const exported = async () =>
    (await metrics.spansExported.get()).values.map(({ labels, value }) => [labels.result, value]);
  return { exporter, request, exported };
}

test('spans arrive in the JSON encoding of OTLP', async () => {
  const { url, received } = await collector();
  const { exporter, request, exported } = setUp(`${url}/`);
  await request('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
  await exporter.forceFlush();
  expect(received).toHaveLength(1);
  expect(received[0]).toMatchObject({
    path: '/v1/traces',
    headers: { 'x-collector-key': 'k', 'content-type': 'application/json' },
  });
  const [resourceSpans] = received[0]?.body.resourceSpans ?? [];
  expect(resourceSpans?.resource).toEqual({
    attributes: [{ key: 'service.name', value: { stringValue: 'edge-under-test' } }],
  });
  const [step, root] = resourceSpans?.scopeSpans[0]?.spans ?? [];
  expect(step).toMatchObject({
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    parentSpanId: root?.spanId,
    name: 'cache',
    kind: 1,
    startTimeUnixNano: '1700000000123000000',
    endTimeUnixNano: '1700000000127000000',
    attributes: [
      { key: 'hit', value: { boolValue: true } },
      { key: 'weight', value: { intValue: '12' } },
      { key: 'share', value: { doubleValue: 0.5 } },
      { key: 'tier', value: { stringValue: 'isolate' } },
    ],
    status: { code: 0 },
  });
  expect(root).toMatchObject({ parentSpanId: '00f067aa0ba902b7', kind: 2 });
  expect(await exported()).toEqual([['sent', 2]]);
});

test('nothing waits: nothing is sent', async () => {
  const { url, received } = await collector();
  await setUp(url).exporter.forceFlush();
  expect(received).toEqual([]);
});

test.each([
  ['refuses', 500],
  ['is away', null],
])('a collector that %s costs the spans, which are counted, and is asked once', async (_, status) => {
  const { url, received } = await collector(status ?? 200);
  if (status === null) await servers.pop()?.close();
  const { exporter, request, exported } = setUp(url);
  await request();
  await exporter.forceFlush();
  await exporter.forceFlush();
  expect(received).toHaveLength(status === null ? 0 : 1);
  expect(await exported()).toEqual([['failed', 2]]);
});

test('what does not fit into the queue is counted as dropped', async () => {
  const { url, received } = await collector();
  const { exporter, request, exported } = setUp(url);
  for (let count = 0; count < 1_030; count += 1) await request();
  await exporter.forceFlush();
  expect(received[0]?.body.resourceSpans[0]?.scopeSpans[0]?.spans).toHaveLength(2_048);
  expect(await exported()).toEqual([
    ['dropped', 12],
    ['sent', 2_048],
  ]);
});
