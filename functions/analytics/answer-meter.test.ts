import { expect, test } from 'vitest';
import { metered } from './answer-meter.ts';

const shown = { arm: 'a' };
const stream = { 'content-type': 'text/event-stream' };
const whole = { 'content-type': 'application/json' };

/** A body of these pieces, that then ends or fails. */
function bodyOf(pieces: readonly Uint8Array[], failure?: Error): ReadableStream<Uint8Array> {
  const left = [...pieces];
  return new ReadableStream({
    pull(controller) {
      const piece = left.shift();
      if (piece !== undefined) controller.enqueue(piece);
      else if (failure === undefined) controller.close();
      else controller.error(failure);
    },
  });
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const byteByByte = (text: string): Uint8Array[] => [...bytes(text)].map((byte) => Uint8Array.of(byte));
const usage = '"usage":{"prompt_tokens":7,"completion_tokens":3}';

test.each([
  ['a whole answer', whole, `{"id":"ü🌲",${usage}}`, `{"treeline":{"arm":"a"},"id":"ü🌲",${usage}}`],
  [
    'a stream',
    stream,
    `: {"not": 1}\n\ndata: {"id":"ü🌲"}\n\ndata: {${usage}}\n\ndata: [DONE]\n\n`,
    `: {"not": 1}\n\ndata: {"treeline":{"arm":"a"},"id":"ü🌲"}\n\ndata: {${usage}}\n\ndata: [DONE]\n\n`,
  ],
])('%s gets the field into its first object alone, wherever it is cut', async (_, headers, sent, expected) => {
  for (const pieces of [byteByByte(sent), [bytes(sent)]]) {
    const { answered, ended } = metered(new Response(bodyOf(pieces), { headers }), shown);
    expect(await answered.text()).toBe(expected);
    expect(await ended).toEqual({ kind: 'whole', tokens: { inputTokens: 7, outputTokens: 3 }, text: null });
  }
});

test.each(['', '{}', '[1]', 'no JSON', `"${'x'.repeat(40_000)}"`])(
  'what has no first field passes as it is',
  async (text) => {
    const { answered, ended } = metered(new Response(bodyOf([bytes(text)]), { headers: whole }), shown);
    expect(await answered.text()).toBe(text);
    expect(await ended).toEqual({ kind: 'whole', tokens: { inputTokens: null, outputTokens: null }, text: null });
  },
);

test.each([
  ['whole', whole, '{"choices":[{"message":{"content":"grüße 🌲"}},{"message":{"content":"other"}}]}'],
  [
    'streamed',
    stream,
    ['grü', 'ße ', '🌲']
      .map((content) => `data: {"choices":[{"index":0,"delta":{"content":"${content}"}}]}\r\n\r\n`)
      .join('') +
      'data: {"choices":[{"index":1,"delta":{"content":"other"}}]}\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n',
  ],
])('the first choice is read where it is asked for: %s', async (_, headers, sent) => {
  const { answered, ended } = metered(new Response(bodyOf(byteByByte(sent)), { headers }), shown, true);
  await answered.text();
  expect(await ended).toMatchObject({ text: 'grüße 🌲' });
});

test('an answer of failure is not touched', async () => {
  const { answered } = metered(new Response('{"error":1}', { status: 429, headers: whole }), shown);
  expect([answered.status, await answered.text()]).toEqual([429, '{"error":1}']);
});

test('a stream that breaks is told from a client that leaves', async () => {
  const broken = metered(
    new Response(bodyOf([bytes('data: {"a":1}')], new Error('reset')), { headers: stream }),
    shown,
  );
  await expect(broken.answered.text()).rejects.toThrow('reset');
  expect(await broken.ended).toEqual({ kind: 'broken' });
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes('data: {"a":1}\n')),
  });
  const left = metered(new Response(endless, { headers: stream }), shown);
  await left.answered.body?.cancel();
  expect(await left.ended).toEqual({ kind: 'left' });
});
