import { expect, test } from 'vitest';
import { countsIn, meterUsage, type TokenCounts, tailLengthMax } from './usage-meter.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function streamOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function meter(chunks: Uint8Array[]): Promise<{ passed: Buffer; counts: TokenCounts[] }> {
  const counts: TokenCounts[] = [];
  const { body, done } = meterUsage({ body: streamOf(chunks) }, (found) => counts.push(found));
  const passed = Buffer.from(await new Response(body).arrayBuffer());
  await done;
  return { passed, counts };
}

const whole = '{"id":"x","choices":[],"usage":{"prompt_tokens": 12,"completion_tokens":34,"total_tokens":46}}';
const events = `data: {"choices":[{"delta":{"content":"grüße"}}],"usage":null}\n\ndata: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\ndata: [DONE]\n\n`;

test.each([
  ['a whole answer', whole, { inputTokens: 12, outputTokens: 34 }],
  ['a stream', events, { inputTokens: 7, outputTokens: 9 }],
  ['no usage', '{"choices":[]}', { inputTokens: 0, outputTokens: 0 }],
  ['the last of several', `${whole}\n${whole.replace('12', '13')}`, { inputTokens: 13, outputTokens: 34 }],
  ['a count that is not a number', '{"usage":{"prompt_tokens":"many"}}', { inputTokens: 0, outputTokens: 0 }],
  ['nothing', '', { inputTokens: 0, outputTokens: 0 }],
])('counts of %s', (_, text, expected) => {
  expect(countsIn(text)).toEqual(expected);
});

test('the answer passes unchanged and is counted, wherever it is cut into chunks', async () => {
  const all = bytes(events);
  for (let cut = 0; cut <= all.byteLength; cut += 1) {
    const { passed, counts } = await meter([all.subarray(0, cut), all.subarray(cut)]);
    expect(passed.equals(Buffer.from(all))).toBe(true);
    expect(counts).toEqual([{ inputTokens: 7, outputTokens: 9 }]);
  }
});

test('only the end of a long answer is kept, and that is enough', async () => {
  const { passed, counts } = await meter([bytes('x'.repeat(10 * tailLengthMax)), bytes(whole)]);
  expect(passed.byteLength).toBe(10 * tailLengthMax + whole.length);
  expect(counts).toEqual([{ inputTokens: 12, outputTokens: 34 }]);
});

test('an answer that breaks off is counted once, and the client sees that it broke', async () => {
  const counts: TokenCounts[] = [];
  let pulls = 0;
  const broken = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulls += 1;
      if (pulls === 1) controller.enqueue(bytes(whole));
      else controller.error(new Error('connection reset'));
    },
  });
  const { body, done } = meterUsage({ body: broken }, (found) => counts.push(found));
  await expect(new Response(body).text()).rejects.toThrow();
  await done;
  expect(counts).toEqual([{ inputTokens: 12, outputTokens: 34 }]);
});

test('a client that goes away stops the upstream, and what came is counted', async () => {
  const counts: TokenCounts[] = [];
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes(whole)),
    cancel: () => {
      cancelled = true;
    },
  });
  const { body, done } = meterUsage({ body: endless }, (found) => counts.push(found));
  const reader = body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await done;
  expect([cancelled, counts]).toEqual([true, [{ inputTokens: 12, outputTokens: 34 }]]);
});

test('an answer without a body is counted as nothing', async () => {
  const counts: TokenCounts[] = [];
  const { body, done } = meterUsage({ body: null }, (found) => counts.push(found));
  await done;
  expect([body, counts]).toEqual([null, [{ inputTokens: 0, outputTokens: 0 }]]);
});
