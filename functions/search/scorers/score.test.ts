import { afterEach, expect, test } from 'vitest';
import { startHttpServer, type TestServer } from '../../../tests/support/http-server.ts';
import { ApiError } from '../../errors.ts';
import { scorerSchema } from '../definition.ts';
import { judgeAttemptsMax, ScoringFailed, type ScoringPorts, scoreOf } from './score.ts';
import { isAllowedWebhook, signatureOf, webhookBytesMax } from './webhook.ts';

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** Scores `answer` by a scorer as it comes over the wire; models reply with `replies`, one after the other. */
async function scored(
  scorer: object,
  answer: string,
  more: Partial<ScoringPorts & { replies: string[]; best: { text: string; score: number } }> = {},
) {
  const replies = [...(more.replies ?? [])];
  const ports: ScoringPorts = {
    complete: async () => ({
      text: replies.shift() ?? '',
      finishReason: 'stop',
      usage: { inputTokens: 10, outputTokens: 2 },
    }),
    similarity: async (_model, left, right) => (left === right ? 1 : -0.3),
    webhooks: { addresses: [], secret: null },
    now: () => 1_793_491_200_000,
    signal: new AbortController().signal,
    ...more,
  };
  const parsed = scorerSchema.parse(scorer);
  if (parsed.type === 'client') throw new Error('the client scores');
  const problem = [{ role: 'user' as const, content: 'Question' }];
  return scoreOf(parsed, { search: 's', trial: 1, problem, answer, best: more.best ?? null }, ports);
}

const failure = async (work: Promise<unknown>): Promise<unknown> => {
  const thrown = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof ScoringFailed)) throw thrown;
  return [thrown.cause instanceof ApiError ? thrown.cause.code : thrown.cause, thrown.usage.length];
};

test.each<[object, string, number]>([
  [{ type: 'json_schema', schema: { type: 'object', required: ['a'] } }, '{"a":1}', 1],
  [{ type: 'json_schema', schema: { type: 'object', required: ['a'] } }, '{}', 1 / 3],
  [{ type: 'json_schema', schema: { type: 'object', required: ['a'] } }, 'Sure! {"a":1}', 0],
  [{ type: 'pattern', pattern: '^yes$', ignore_case: true }, 'YES', 1],
  [{ type: 'pattern', pattern: '^yes$' }, 'no', 0],
  [{ type: 'exact', expected: 'Paris' }, '  Paris\n', 1],
  [{ type: 'exact', expected: 'Paris' }, 'paris', 0],
  [{ type: 'numeric', expected: 1_000 }, 'It is 1,100.', 0.5],
  [{ type: 'numeric', expected: 0, scale: 1 }, '1 and then -3e0', 0.25],
  [{ type: 'numeric', expected: 7 }, 'seven', 0],
  [{ type: 'similarity', reference: 'same' }, 'same', 1],
  [{ type: 'similarity', reference: 'same' }, 'other', 0],
])('%j on "%s" is %d', async (scorer, answer, expected) => {
  expect((await scored(scorer, answer)).score).toBeCloseTo(expected, 12);
});

test('a judge’s mark is a tenth of its number; what it says around is ignored, its tokens are counted', async () => {
  const judge = { type: 'judge', model: 'm', rubric: 'short' };
  const answer = await scored(judge, 'x', { replies: ['nonsense', 'Here: {"score": 7, "feedback": "shorter"}'] });
  expect(answer).toMatchObject({ score: 0.7, feedback: 'shorter' });
  expect(answer.usage).toHaveLength(2);
  expect(await failure(scored(judge, 'x', { replies: ['{"score": 11}', 'none'] }))).toEqual([
    'upstream_failed',
    judgeAttemptsMax,
  ]);
});

test('a comparison counts only where both orders agree', async () => {
  const pairwise = { type: 'pairwise', model: 'm' };
  const best = { text: 'best', score: 0.6 };
  const by = async (...verdicts: string[]) =>
    (await scored(pairwise, 'x', { best, replies: verdicts.map((better) => JSON.stringify({ better, feedback: '' })) }))
      .score;
  expect(await by('first', 'second')).toBeCloseTo(0.8);
  expect(await by('second', 'first')).toBeCloseTo(0.3);
  expect(await by('first', 'first')).toBeCloseTo(0.6);
  expect((await scored(pairwise, 'x')).score).toBe(0.5);
  expect((await scored(pairwise, 'best', { best })).score).toBe(0.6);
});

test('a mix weighs its parts and says what each of them missed', async () => {
  const parts = [
    { weight: 3, scorer: { type: 'pattern', pattern: 'a' } },
    { weight: 1, scorer: { type: 'exact', expected: 'b' } },
  ];
  expect(await scored({ type: 'mix', parts }, 'a')).toMatchObject({
    score: 0.75,
    feedback: 'The answer is not the expected one.',
  });
  expect(scorerSchema.safeParse({ type: 'mix', parts: [{ weight: 1, scorer: { type: 'client' } }] }).success).toBe(
    false,
  );
});

test('a webhook gets the answer, signed, and gives the score', async () => {
  let seen = { body: '', signature: '' };
  const server = await startHttpServer((request, body, response) => {
    seen = { body: body.toString(), signature: String(request.headers['treeline-signature']) };
    response.end('{"score":0.4,"feedback":"meh"}');
  });
  servers.push(server);
  const webhooks = { addresses: [`${server.url}/score/`], secret: 'shared' };
  expect(await scored({ type: 'webhook', url: `${server.url}/score/me` }, 'x', { webhooks })).toMatchObject({
    score: 0.4,
    feedback: 'meh',
  });
  expect(JSON.parse(seen.body)).toEqual({
    search: 's',
    trial: 1,
    messages: [{ role: 'user', content: 'Question' }],
    answer: 'x',
  });
  expect(seen.signature).toBe(await signatureOf('shared', seen.body, 1_793_491_200_000));
  expect(seen.signature).toMatch(/^t=1793491200,v1=[0-9a-f]{64}$/);
});

test('a webhook that is not listed, redirects, answers nonsense or too much fails', async () => {
  const server = await startHttpServer((request, _body, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: '/score' });
    response.end(request.url === '/long' ? 'x'.repeat(webhookBytesMax + 1) : '{"score":2}');
  });
  servers.push(server);
  const webhooks = { addresses: [`${server.url}/redirect`, `${server.url}/long`, `${server.url}/score`], secret: null };
  for (const path of ['redirect', 'long', 'score']) {
    expect(await failure(scored({ type: 'webhook', url: `${server.url}/${path}` }, 'x', { webhooks }))).toEqual([
      'upstream_failed',
      0,
    ]);
  }
  expect(await failure(scored({ type: 'webhook', url: `${server.url}/scores` }, 'x', { webhooks }))).toEqual([
    'forbidden',
    0,
  ]);
});

test('the list of webhooks takes whole addresses, and what lies below a slash', () => {
  const configuration = { addresses: ['https://one.example/a', 'https://two.example/b/'], secret: null };
  const allowed = (url: string) => isAllowedWebhook(url, configuration);
  expect(['https://one.example/a', 'https://two.example/b/c'].map(allowed)).toEqual([true, true]);
  expect(
    [
      'https://one.example/ab',
      'https://two.example/b/../c',
      'https://two.example.evil/b/',
      'https://u:p@two.example/b/',
      'http://two.example/b/',
      'nonsense',
    ].map(allowed),
  ).toEqual([false, false, false, false, false, false]);
});
