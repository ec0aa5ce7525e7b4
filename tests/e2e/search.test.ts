/** Searches through the edge on both hosts: inside a chat call by OpenAI's own client, and durable ones over HTTP. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import { freePort } from '../../infra/local/ports.ts';
import { type Stack, startStack } from '../../infra/local/stack.ts';
import { EdgeClient } from '../contract/edge.ts';
import { type SearchUpstream, searchModels, startSearchUpstream } from '../support/search-upstream.ts';

const messages = [{ role: 'user' as const, content: 'Name a great number.' }];
/** Answers of `counter` are 1, 2, 3, …; this one is reached by refining alone. */
const sixth = { type: 'numeric', expected: 6, scale: 1 };

describe.each<EdgeHost>(['workers', 'supabase'])('searches through %s', (host) => {
  let upstream: SearchUpstream;
  let directory: string;
  let stack: Stack;
  let client: EdgeClient;
  let openai: OpenAI;

  beforeAll(async () => {
    upstream = await startSearchUpstream();
    directory = await mkdtemp(join(tmpdir(), 'treeline-search-'));
    stack = await startStack({
      host,
      port: await freePort(),
      directory,
      models: false,
      environment: { UPSTREAM_BASE_URL: upstream.url, UPSTREAM_MODELS: searchModels.join(',') },
    });
    client = new EdgeClient(stack.url, stack.key);
    openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.key, maxRetries: 0 });
  });
  afterAll(async () => {
    await stack?.stop();
    await upstream?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const ask = (body: object, headers: Record<string, string> = {}) =>
    client.json('/v1/chat/completions', { body: { model: 'abmcts/counter', messages, ...body }, headers });
  const search = (options: object, more: object = {}) => ask({ treeline: { search: options }, ...more });
  const begin = async (body: object): Promise<string> => {
    const arms = [{ model: 'counter' }];
    const { status, body: shown } = await client.json('/v1/search', { body: { messages, arms, ...body } });
    expect([status, shown.object]).toEqual([202, 'search']);
    return shown.id;
  };
  const look = async (id: string) => (await client.json(`/v1/search/${id}`)).body;
  const ended = async (id: string) => {
    const giveUpAt = performance.now() + 30_000;
    for (let shown = await look(id); ; shown = await look(id)) {
      if (shown.status !== 'running' || performance.now() > giveUpAt) return shown;
      await delay(100);
    }
  };
  /** The events of a stream, from its beginning or after `last`. */
  const events = async (id: string, last?: string) => {
    const headers: Record<string, string> = last === undefined ? {} : { 'last-event-id': last };
    const response = await client.call(`/v1/search/${id}/events`, { headers });
    const blocks = (await response.text()).split('\n\n').filter((block) => block.startsWith('id: '));
    const found = blocks.map((block) => /^id: (\d+)\nevent: (\S+)\ndata: (.*)$/.exec(block) ?? []);
    return {
      status: response.status,
      events: found.map(([, number, type]) => ({ id: number ?? '', type: type ?? '' })),
    };
  };

  test('every chat model is listed a second time, to be searched over', async () => {
    const { body } = await client.json('/v1/models');
    const ids = body.data.map(({ id }: { id: string }) => id);
    expect(ids).toEqual(expect.arrayContaining(['counter', 'abmcts/counter']));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('OpenAI’s client gets the best answers as a completion whose usage is that of all calls', async () => {
    upstream.calls.length = 0;
    const request = {
      model: 'abmcts/counter',
      messages,
      n: 3,
      temperature: 0.5,
      treeline: { search: { scorer: sixth, budget: { trials: 12 }, concurrency: 1, algorithm: 'best-first' } },
    };
    const answer = await openai.chat.completions.create(request as OpenAI.ChatCompletionCreateParamsNonStreaming);
    const { search: did } = (answer as unknown as { treeline: { search: Record<string, unknown> } }).treeline;
    expect(answer.choices.map(({ index, message, finish_reason: reason }) => [index, message.content, reason])).toEqual(
      [
        [0, '6', 'stop'],
        [1, '5', 'stop'],
        [2, '4', 'stop'],
      ],
    );
    const made = upstream.calls.length;
    expect(answer.usage).toEqual({ prompt_tokens: 10 * made, completion_tokens: 5 * made, total_tokens: 15 * made });
    expect(did).toMatchObject({
      reason: 'score_reached',
      partial: false,
      scores: [1, 0.5, 1 / 3],
      usage: [{ model: 'counter', calls: made, input_tokens: 10 * made, output_tokens: 5 * made }],
    });
    expect(new Set(upstream.calls.map(({ body }) => body.temperature))).toEqual(new Set([0.5]));
    expect(upstream.calls.every(({ headers }) => headers['treeline-search-depth'] === '1')).toBe(true);
  });

  test('as a stream, progress comes as reasoning while it happens, and the answer at the end', async () => {
    const request = {
      model: 'abmcts/counter',
      messages,
      stream: true,
      stream_options: { include_usage: true },
      treeline: { search: { budget: { trials: 4 } } },
    };
    const stream = await openai.chat.completions.create(request as OpenAI.ChatCompletionCreateParamsStreaming);
    let [content, reasoning, tokens, reason] = ['', '', 0, ''];
    for await (const chunk of stream) {
      const [choice] = chunk.choices;
      content += choice?.delta.content ?? '';
      reasoning += (choice?.delta as { reasoning_content?: string } | undefined)?.reasoning_content ?? '';
      reason = choice?.finish_reason ?? reason;
      tokens = chunk.usage?.total_tokens ?? tokens;
    }
    expect(Number(content)).toBeGreaterThan(0);
    expect(reasoning).toContain('Trial 4: scored');
    // Four answers, and the model’s own mark for each of them.
    expect([reason, tokens]).toEqual(['stop', 8 * 15]);
  });

  test('an answer that must satisfy a schema is scored by the schema, without a judge', async () => {
    upstream.calls.length = 0;
    const schema = { type: 'integer', minimum: 3 };
    const format = { type: 'json_schema', json_schema: { name: 'n', schema } };
    const { body } = await search({ budget: { trials: 12 }, concurrency: 1 }, { response_format: format });
    expect(Number(body.choices[0].message.content)).toBeGreaterThanOrEqual(3);
    expect(upstream.calls.every(({ body: sent }) => sent.response_format?.type === 'json_schema')).toBe(true);
  });

  test('the deadline gives the best so far, marked; without any answer it is a timeout', async () => {
    const arms = [{ model: 'counter' }, { model: 'slow' }];
    const cut = await search({ arms, scorer: sixth, deadline_ms: 1_500, budget: { trials: 100 }, concurrency: 4 });
    expect([cut.status, cut.body.treeline.search.partial, cut.body.treeline.search.reason]).toEqual([
      200,
      true,
      'deadline',
    ]);
    const none = await search({ arms: [{ model: 'slow' }], scorer: sixth, deadline_ms: 500 });
    expect([none.status, none.body.error.code]).toEqual([504, 'upstream_timeout']);
  });

  test('a client that goes away ends the calls of its search', async () => {
    const before = upstream.abandoned();
    const leaving = new AbortController();
    const body = { model: 'abmcts/slow', messages, stream: true, treeline: { search: { scorer: sixth } } };
    const response = await client.call('/v1/chat/completions', { body, signal: leaving.signal });
    await response.body?.getReader().read();
    await delay(500);
    leaving.abort();
    const giveUpAt = performance.now() + 20_000;
    while (upstream.abandoned() < before + 2 && performance.now() < giveUpAt) await delay(50);
    expect(upstream.abandoned()).toBe(before + 2);
  });

  test('bad requests are refused before anything is paid for', async () => {
    upstream.calls.length = 0;
    const code = async (answer: Promise<{ status: number; body: { error: { code: string } } }>) => {
      const { status, body } = await answer;
      return [status, body.error.code];
    };
    expect(await code(ask({ model: 'abmcts/none' }))).toEqual([404, 'model_not_found']);
    expect(await code(ask({}, { 'treeline-search-depth': '1' }))).toEqual([508, 'search_loop']);
    expect(await code(search({ budget: { trials: 0 } }))).toEqual([400, 'invalid_request']);
    expect(await code(search({ scorer: { type: 'pattern', pattern: '(a)\\1' } }))).toEqual([400, 'invalid_request']);
    expect(await code(search({ arms: [{ model: 'abmcts/counter' }] }))).toEqual([400, 'invalid_request']);
    expect(await code(search({ scorer: { type: 'webhook', url: 'https://example.com/' } }))).toEqual([
      403,
      'forbidden',
    ]);
    expect(await code(search({}, { tools: [{ type: 'function' }] }))).toEqual([400, 'invalid_request']);
    expect(await code(client.json('/v1/search/00000000-0000-4000-8000-000000000000'))).toEqual([
      404,
      'search_not_found',
    ]);
    expect(upstream.calls).toEqual([]);
  });

  test('a durable search is found by its id, event by event, and again from the last one seen', async () => {
    const id = await begin({ scorer: sixth, budget: { trials: 12 }, concurrency: 1 });
    const all = await events(id);
    expect(all.events.map(({ id: number }) => Number(number))).toEqual(all.events.map((_, at) => at));
    expect(all.events.slice(0, 4).map(({ type }) => type)).toEqual(['started', 'asked', 'generated', 'scored']);
    expect(all.events.at(-1)?.type).toBe('finished');
    const rest = await events(id, '3');
    expect(rest.events).toEqual(all.events.slice(4));
    expect((await events(id, String(all.events.length - 1))).status).toBe(204);
    const shown = await look(id);
    expect(shown).toMatchObject({
      status: 'completed',
      reason: 'score_reached',
      best: [{ answer: '6', score: 1 }, {}, {}, {}, {}, {}],
    });
    expect(shown.cost.tokens).toBe(15 * shown.trials.asked);
  });

  test('an answer’s meaning is compared in the isolate, and parts of a score are weighed', async () => {
    const parts = [
      { weight: 1, scorer: { type: 'similarity', reference: '1', model: 'treeline-static-v1' } },
      { weight: 1, scorer: { type: 'pattern', pattern: '^1$' } },
    ];
    const id = await begin({ scorer: { type: 'mix', parts }, budget: { trials: 3 } });
    const shown = await ended(id);
    expect(shown).toMatchObject({ status: 'completed', best: [{ answer: '1' }] });
    expect(shown.best[0].score).toBeCloseTo(1, 5);
  });

  test('the client scores: answers wait for it, scores count once, and the tree grows by them', async () => {
    const id = await begin({ scorer: { type: 'client' }, budget: { trials: 4 }, concurrency: 2 });
    const post = (path: string, body: object) => client.json(`/v1/search/${id}/${path}`, { body });
    let told = 0;
    for (let round = 0; round < 20; round += 1) {
      const { status, body } = await post('ask', { wait_ms: 5_000 });
      expect(status).toBe(200);
      if (body.status !== 'running') break;
      for (const { trial, answer } of body.trials) {
        const score = Number(answer) / 10;
        expect((await post('tell', { trial, score, feedback: 'more' })).body).toEqual({ recorded: true });
        expect((await post('tell', { trial, score: 0 })).body).toEqual({ recorded: false });
        told += 1;
      }
    }
    expect([told, (await ended(id)).reason]).toEqual([4, 'trials']);
    expect((await post('tell', { trial: 99, score: 1 })).status).toBe(400);
    expect((await post('tell', { trial: 1, score: 2 })).status).toBe(400);
  });

  test('a search is cancelled, goes on within new bounds, and is forked without changing', async () => {
    const id = await begin({ arms: [{ model: 'slow' }], scorer: sixth, budget: { trials: 4 } });
    await delay(300);
    const cancelled = await client.json(`/v1/search/${id}/cancel`, { method: 'POST' });
    expect(cancelled.body).toMatchObject({ status: 'cancelled', reason: 'cancelled', partial: true });
    expect((await client.json(`/v1/search/${id}/cancel`, { method: 'POST' })).status).toBe(200);

    const done = await begin({ scorer: { ...sixth, expected: 100 }, budget: { trials: 2 }, concurrency: 1 });
    const first = await ended(done);
    const refused = await client.json(`/v1/search/${done}/resume`, { body: {} });
    expect([refused.status, refused.body.error.code]).toEqual([409, 'search_conflict']);
    upstream.calls.length = 0;
    const forked = await client.json(`/v1/search/${done}/fork`, { body: { budget: { trials: 5 } } });
    expect([forked.status, forked.body.forked_from]).toEqual([202, done]);
    const fork = await ended(forked.body.id);
    expect(fork.trials).toEqual({ asked: 5, scored: 5, failed: 0, open: 0 });
    // What the original had paid for is not paid for again.
    expect(upstream.calls.length).toBe(3);
    expect(fork.tree.slice(0, 2).map(({ answer }: { answer: string }) => answer)).toEqual(
      first.tree.map(({ answer }: { answer: string }) => answer),
    );
    expect((await look(done)).trials.asked).toBe(2);
    const resumed = await client.json(`/v1/search/${done}/resume`, { body: { budget: { trials: 3 } } });
    expect(resumed.status).toBe(202);
    expect((await ended(done)).trials.asked).toBe(3);
  });

  test('the tree is a page without a script, under a policy that allows none', async () => {
    const id = await begin({ scorer: sixth, budget: { trials: 12 }, concurrency: 1 });
    await ended(id);
    const response = await client.call(`/v1/search/${id}/view`);
    const page = await response.text();
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.match(/<circle/g)?.length).toBe((await look(id)).trials.asked);
    expect(page).not.toContain('<script');
  });

  // The last: after so many failures the edge leaves the upstream alone for a while.
  test('a model or scorer that always fails ends the search with its reason, after few calls', async () => {
    upstream.calls.length = 0;
    const broken = await search({
      arms: [{ model: 'broken' }],
      scorer: sixth,
      budget: { trials: 100 },
      concurrency: 1,
    });
    expect([broken.status, broken.body.error.code]).toEqual([502, 'search_failed']);
    expect(broken.body.error.message).toContain('broken as told');
    expect(upstream.calls.length).toBe(5);
    const judged = await search({
      scorer: { type: 'judge', model: 'broken' },
      budget: { trials: 100 },
      concurrency: 1,
    });
    // Its answers are there, but nobody could tell which is good: the first failure counts, not the answers.
    expect([judged.status, judged.body.error?.code]).toEqual([502, 'search_failed']);
  });
});
