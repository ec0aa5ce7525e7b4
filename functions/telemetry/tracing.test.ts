import { trace } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import { ManualClock, seededRandom } from '../../tests/support/ports.ts';
import { createTracer, parentOf, Steps, traceparentOf } from './tracing.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

test.each([
  ['a valid parent', `00-${traceId}-${spanId}-01`, traceId],
  ['a parent that is not sampled', `00-${traceId}-${spanId}-00`, traceId],
  ['nothing', undefined, null],
  ['an empty header', '', null],
  ['a trace id of zeros', `00-${'0'.repeat(32)}-${spanId}-01`, null],
  ['a span id of zeros', `00-${traceId}-${'0'.repeat(16)}-01`, null],
  ['upper case, which the standard forbids', `00-${traceId.toUpperCase()}-${spanId}-01`, null],
  ['the forbidden version ff', `ff-${traceId}-${spanId}-01`, null],
  ['a trace id that is too short', `00-${traceId.slice(1)}-${spanId}-01`, null],
  ['flags that are cut off', `00-${traceId}-${spanId}-0`, null],
  ['more than version 00 has', `00-${traceId}-${spanId}-01-more`, null],
  ['no hexadecimal digits', `00-${'z'.repeat(32)}-${spanId}-01`, null],
])('parentOf: %s', (_, header, expected) => {
  expect(trace.getSpanContext(parentOf(header))?.traceId ?? null).toBe(expected);
});

test('a request continues the trace of its caller and has an id of its own', () => {
  const tracer = createTracer(seededRandom(1), []);
  const steps = new Steps(tracer, new ManualClock(), 'GET /', parentOf(`00-${traceId}-${spanId}-00`));
  expect(steps.traceId).toBe(traceId);
  expect(traceparentOf(steps.request)).toMatch(new RegExp(`^00-${traceId}-(?!${spanId})[0-9a-f]{16}-01$`));
});

test('a request without a caller gets a new trace id each time', () => {
  const tracer = createTracer(seededRandom(1), []);
  const ids = [1, 2].map(() => new Steps(tracer, new ManualClock(), 'GET /', parentOf(undefined)).traceId);
  expect(new Set(ids).size).toBe(2);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
});

test('Server-Timing names the steps in the order in which they ended, in milliseconds', async () => {
  const clock = new ManualClock();
  const steps = new Steps(createTracer(seededRandom(1), []), clock, 'GET /', parentOf(undefined));
  expect(steps.serverTiming).toBe('');
  await steps.run('authenticate', () => clock.advance(1.5));
  await steps.run('cache', () => clock.advance(20));
  expect(steps.serverTiming).toBe('authenticate;dur=1.500, cache;dur=20.000');
});

test('a step that fails is timed too, and its error goes on to the caller', async () => {
  const clock = new ManualClock();
  const steps = new Steps(createTracer(seededRandom(1), []), clock, 'GET /', parentOf(undefined));
  const failure = new TypeError('told to fail');
  const work = () => {
    clock.advance(3);
    throw failure;
  };
  await expect(steps.run('inference', work)).rejects.toBe(failure);
  expect(steps.serverTiming).toBe('inference;dur=3.000');
});
