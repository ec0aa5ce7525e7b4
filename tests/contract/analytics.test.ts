/** Experiments over HTTP: decisions, feedback, arms, and what they show. */
import OpenAI from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startHttpServer, type TestServer } from '../support/http-server.ts';
import { edge, runningEdge } from './edge.ts';

const client = edge();
const freshName = (): string => `test-${crypto.randomUUID().slice(0, 13)}`;
const arms = [
  { name: 'good', settings: { model: 'test-chat', temperature: 0.2 } },
  { name: 'poor', settings: { model: 'test-other', temperature: 0.9 } },
];

async function begin(more: object = {}): Promise<string> {
  const name = freshName();
  const { status, body } = await client.json('/v1/experiments', { body: { name, arms, ...more } });
  expect([status, body.name]).toEqual([201, name]);
  return name;
}

const decide = async (name: string, body: object = {}) => client.json(`/v1/experiments/${name}/decide`, { body });
const feedback = async (decisionId: string, rewards: object) =>
  client.json('/v1/feedback', { body: { decision_id: decisionId, rewards } });
const analysis = async (name: string) => (await client.json(`/v1/experiments/${name}/analysis`)).body;

describe('experiments', () => {
  test('one is made with its defaults, listed, and read', async () => {
    const name = await begin();
    const { body } = await client.json(`/v1/experiments/${name}`);
    expect(body).toMatchObject({ object: 'experiment', name, ended_at: null, arms: [{ active: true }, {}] });
    expect(body.definition).toMatchObject({ policy: { kind: 'thompson' }, floor: 0.05, window_ms: 600_000 });
    const list = await client.json('/v1/experiments');
    expect(list.body.data.map((one: { name: string }) => one.name)).toContain(name);
  });

  test.each([
    ['the name is taken twice', 409, 'experiment_exists', async () => ({ name: await begin() })],
    ['a policy is unknown', 400, 'invalid_request', () => ({ name: freshName(), policy: { kind: 'magic' } })],
    [
      'a rail has no fallback',
      400,
      'invalid_request',
      () => ({
        name: freshName(),
        rails: [{ reward: 'reward', quantile: 0.5, limit: 0.5 }],
      }),
    ],
    [
      'a prompt is not there',
      400,
      'invalid_request',
      () => ({
        name: freshName(),
        prompts: { a: 'Be kind.' },
        arms: [{ name: 'b', settings: { prompt_version: 'b' } }],
      }),
    ],
    ['a text cannot be stored', 400, 'invalid_request', () => ({ name: freshName(), prompts: { a: '\0' } })],
    [
      'an experiment calls one',
      400,
      'invalid_request',
      () => ({
        name: freshName(),
        arms: [{ name: 'loop', settings: { model: 'experiment/x' } }],
      }),
    ],
  ] as const)('none is made where %s', async (_, status, code, body) => {
    const answer = await client.json('/v1/experiments', { body: await body() });
    expect([answer.status, answer.body.error?.code]).toEqual([status, code]);
  });

  test('what is not there is a 404', async () => {
    for (const path of ['', '/analysis', '/view']) {
      const { status, body } = await client.json(`/v1/experiments/none${path}`);
      expect([status, body.error.code]).toEqual([404, 'experiment_not_found']);
    }
    expect((await decide('none')).status).toBe(404);
    expect((await feedback('0'.repeat(32), { reward: 1 })).status).toBe(404);
  });
});

describe('decisions and feedback', () => {
  test('a decision names its arm, its settings and its propensity, and its feedback counts once', async () => {
    const name = await begin({ rewards: [{ name: 'accepted' }] });
    const { body } = await decide(name, { task: 'chat', durable: true });
    expect(body).toMatchObject({ object: 'decision', experiment: name, propensity: 0.5, proposed: null });
    expect(arms.find((arm) => arm.name === body.arm)?.settings).toEqual(body.settings);
    const first = await feedback(body.decision_id, { accepted: true });
    expect(first.body).toMatchObject({ recorded: ['accepted'], known: [], decision: 'known', late: false });
    const second = await feedback(body.decision_id, { accepted: false });
    expect(second.body).toMatchObject({ recorded: [], known: ['accepted'] });
    const { tasks, open } = await analysis(name);
    const [task] = tasks;
    expect([open, task.task]).toEqual([0, 'chat']);
    expect(task.arms.find((arm: { arm: string }) => arm.arm === body.arm)).toMatchObject({ count: 1, mean: 1 });
  });

  test('the better arm is found, and the analysis says by how much and how surely', async () => {
    const name = await begin({ floor: 0.4, seed: 7 });
    for (let round = 0; round < 24; round += 1) {
      const made = await Promise.all(Array.from({ length: 8 }, () => decide(name)));
      await Promise.all(
        made.map(({ body }, at) =>
          feedback(body.decision_id, { reward: body.arm === 'good' ? at % 10 !== 9 : at % 10 === 0 }),
        ),
      );
    }
    const { tasks, traffic } = await analysis(name);
    const [task] = tasks;
    expect(task).toMatchObject({ best: 'good', decided: true, needed: 0 });
    const [good, poor] = task.arms;
    expect(good.decisions + poor.decisions).toBe(192);
    expect(good.interval.low).toBeGreaterThan(poor.interval.high);
    expect(good.probability).toBeCloseTo(0.8, 2);
    expect(task.effects.map(({ parameter }: { parameter: string }) => parameter)).toContain('temperature');
    expect(task.regret.estimate).toBeGreaterThan(0);
    expect(traffic.flatMap((span: { decisions: object }) => Object.values(span.decisions))).not.toEqual([]);
  }, 120_000);

  test('an arm is added, withdrawn and brought back while the experiment runs', async () => {
    const name = await begin({ arms: [arms[0]] });
    const path = `/v1/experiments/${name}/arms`;
    const added = await client.json(`${path}/new`, { method: 'PUT', body: { settings: { temperature: 0.5 } } });
    expect(added.body.arms.map((arm: { name: string }) => arm.name)).toEqual(['good', 'new']);
    await client.json(`${path}/good`, { method: 'DELETE' });
    expect((await decide(name)).body).toMatchObject({ arm: 'new', propensity: 1 });
    await client.json(`${path}/new`, { method: 'DELETE' });
    const none = await decide(name);
    expect([none.status, none.body.error.code]).toEqual([409, 'no_arm']);
    await client.json(`${path}/good`, { method: 'PUT', body: { settings: {} } });
    expect((await decide(name)).body.arm).toBe('good');
  });

  test('in shadow mode the fallback is served, and the policy’s choice is told', async () => {
    const name = await begin({ shadow: true, fallback: 'poor' });
    const { body } = await decide(name);
    expect(body).toMatchObject({ arm: 'poor', propensity: 1, proposed: { propensity: 0.5 } });
  });

  test('a space is searched without arms', async () => {
    const space = [
      { name: 'temperature', low: 0, high: 1 },
      { name: 'model', options: ['test-chat', 'test-other'] },
      { name: 'max_tokens', low: 16, high: 512, logarithmic: true, whole: true },
    ];
    const name = await begin({ arms: [], space, policy: { kind: 'optimise', initial: 3 }, settings: { top_p: 0.9 } });
    for (let round = 0; round < 8; round += 1) {
      const { body } = await decide(name);
      expect(body).toMatchObject({ arm: null, propensity: 1, settings: { top_p: 0.9 } });
      expect(['test-chat', 'test-other']).toContain(body.settings.model);
      expect(Number.isInteger(body.settings.max_tokens)).toBe(true);
      await feedback(body.decision_id, { reward: body.settings.temperature });
    }
    expect((await analysis(name)).best_point.point).toHaveLength(3);
  });

  test('an ended experiment decides no more, and takes feedback', async () => {
    const name = await begin();
    const { body } = await decide(name, { durable: true });
    expect((await client.json(`/v1/experiments/${name}/end`, { method: 'POST' })).body.ended_at).not.toBeNull();
    const refused = await decide(name);
    expect([refused.status, refused.body.error.code]).toEqual([409, 'experiment_ended']);
    expect((await feedback(body.decision_id, { reward: 1 })).body.recorded).toEqual(['reward']);
  });

  test('a reward that is not declared is refused by name', async () => {
    const name = await begin();
    const { body } = await decide(name);
    const { status, body: refusal } = await feedback(body.decision_id, { stars: 5 });
    expect([status, refusal.error.message]).toEqual([400, 'There is no reward named "stars"; there are: reward.']);
  });

  test('decisions are stored behind the answer', async () => {
    const name = await begin();
    const { body } = await decide(name);
    const database = new pg.Client({ connectionString: runningEdge().databaseUrl });
    await database.connect();
    try {
      const count = async () => {
        const text = 'select count(*)::int as count from treeline.experiment_events where decision_id = $1';
        return (await database.query(text, [body.decision_id])).rows[0].count;
      };
      await expect.poll(count, { timeout: 10_000 }).toBe(1);
    } finally {
      await database.end();
    }
  });
});

test('what another policy would have earned is estimated from the log', async () => {
  const name = await begin({ window_ms: 1, grace_ms: 60_000, rewards: [{ name: 'reward', default: 0 }] });
  await Promise.all(Array.from({ length: 30 }, () => decide(name, { durable: true })));
  const { status, body } = await client.json(`/v1/experiments/${name}/what-if`, { body: { policy: { arm: 'good' } } });
  expect(status).toBe(200);
  expect(body).toMatchObject({ object: 'experiment.estimate', count: 30, ips: { mean: 0 } });
});

test('the page shows the analysis without a script', async () => {
  const name = await begin();
  const { body } = await decide(name);
  await feedback(body.decision_id, { reward: 1 });
  const page = await client.call(`/v1/experiments/${name}/view`);
  const html = await page.text();
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=UTF-8']);
  expect(html).toContain('<svg');
  expect(html).not.toContain('<script');
});

describe('a chat call by the experiment’s name', () => {
  let upstream: TestServer;
  let seen: Record<string, unknown>[] = [];
  let fails = false;
  const usage = { prompt_tokens: 1000, completion_tokens: 500, total_tokens: 1500 };
  const openai = new OpenAI({ baseURL: `${runningEdge().url}/v1`, apiKey: runningEdge().key, maxRetries: 0 });
  const messages = [{ role: 'user' as const, content: 'Sag grüße 🌲' }];

  beforeAll(async () => {
    upstream = await startHttpServer((_, body, response) => {
      const request = JSON.parse(body.toString());
      seen.push(request);
      if (fails) return void response.writeHead(500).end('{}');
      const head = { id: 'chatcmpl-1', created: 1, model: request.model };
      if (request.stream !== true) {
        const choices = [{ index: 0, message: { role: 'assistant', content: 'grüße 🌲' }, finish_reason: 'stop' }];
        response.writeHead(200, { 'content-type': 'application/json' });
        return void response.end(JSON.stringify({ ...head, object: 'chat.completion', choices, usage }));
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const bytes = Buffer.from(
        [
          { ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'grüße 🌲' } }] },
          { ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
          { ...head, object: 'chat.completion.chunk', choices: [], usage },
        ]
          .map((event) => `data: ${JSON.stringify(event)}\n\n`)
          .join('')
          .concat('data: [DONE]\n\n'),
      );
      // One byte at a time at the beginning, so that no piece is a whole event or a whole letter.
      for (const byte of bytes.subarray(0, 200)) response.write(Buffer.of(byte));
      response.end(bytes.subarray(200));
    }, runningEdge().upstreamPort);
  });
  afterAll(() => upstream.close());

  const measured = {
    rewards: [
      { name: 'fast', source: 'latency_ms', worst: 10_000, best: 0 },
      { name: 'cheap', source: 'cost', worst: 0.01, best: 0 },
    ],
    prices: { 'test-chat': { input: 1, output: 2 }, 'test-other': { input: 1, output: 2 } },
    prompts: { v2: 'Answer in German.' },
    settings: { prompt_version: 'v2' },
  };

  test('uses the arm’s settings, names the decision, and measures what it cost', async () => {
    const name = await begin(measured);
    seen = [];
    const { data, response } = await openai.chat.completions
      .create({ model: `experiment/${name}`, messages, temperature: 2, user: 'kept' })
      .withResponse();
    const arm = response.headers.get('treeline-arm');
    const decisionId = response.headers.get('treeline-decision-id');
    expect(data.choices[0]?.message.content).toBe('grüße 🌲');
    expect(data).toMatchObject({ treeline: { experiment: name, decision_id: decisionId, arm, propensity: 0.5 } });
    const settings = arms.find((one) => one.name === arm)?.settings;
    expect(seen).toEqual([
      { ...settings, user: 'kept', messages: [{ role: 'system', content: 'Answer in German.' }, ...messages] },
    ]);
    // 1000 tokens at 1 and 500 at 2 a million: 0.002.
    const rewards = async () => {
      const [task] = (await analysis(name)).tasks;
      return task?.arms.find((one: { arm: string }) => one.arm === arm)?.rewards;
    };
    await expect
      .poll(async () => (await rewards())?.[1], { timeout: 10_000 })
      .toMatchObject({ reward: 'cheap', count: 1 });
    expect((await rewards())[1].mean).toBeCloseTo(0.002, 6);
  });

  test('streams as it comes, with the decision in its first event', async () => {
    const name = await begin(measured);
    const stream = await openai.chat.completions.create({ model: `experiment/${name}`, messages, stream: true });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events[0]).toMatchObject({ treeline: { experiment: name } });
    expect(events.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('grüße 🌲');
    expect(events.slice(1).some((event) => 'treeline' in event)).toBe(false);
  });

  test('answers are scored behind the answer, whole and streamed', async () => {
    const scorer = { type: 'pattern', pattern: 'gr.*e' };
    const rewards = [
      { name: 'german', source: 'scorer', scorer },
      { name: 'number', source: 'scorer', scorer: { type: 'numeric', expected: 1 } },
    ];
    const name = await begin({ rewards, arms: [arms[0]] });
    const body = { model: `experiment/${name}`, messages };
    await client.json('/v1/chat/completions', { body });
    await (await client.call('/v1/chat/completions', { body: { ...body, stream: true } })).text();
    const arm = async () => (await analysis(name)).tasks[0]?.arms[0];
    await expect.poll(arm, { timeout: 10_000 }).toMatchObject({ count: 2, mean: 0.5 });
    expect((await arm()).rewards).toMatchObject([
      { reward: 'german', mean: 1 },
      { reward: 'number', mean: 0 },
    ]);
  });

  test('a failure of the model counts as the worst', async () => {
    const name = await begin({ ...measured, arms: [arms[0]] });
    fails = true;
    const { status } = await client.json('/v1/chat/completions', { body: { model: `experiment/${name}`, messages } });
    fails = false;
    expect(status).toBe(500);
    const mean = async () => (await analysis(name)).tasks[0]?.arms[0];
    await expect.poll(mean, { timeout: 10_000 }).toMatchObject({ count: 1, mean: 0 });
  });

  test('is listed among the models while it runs', async () => {
    const name = await begin();
    const ids = async () => (await openai.models.list()).data.map(({ id }) => id);
    expect(await ids()).toContain(`experiment/${name}`);
    await client.json(`/v1/experiments/${name}/end`, { method: 'POST' });
    expect(await ids()).not.toContain(`experiment/${name}`);
  });

  test('a task goes along, and a name that is none is refused', async () => {
    const name = await begin();
    const body = { model: `experiment/${name}`, messages, treeline: { experiment: { task: 'greeting' } } };
    expect((await client.json('/v1/chat/completions', { body })).status).toBe(200);
    expect((await analysis(name)).tasks[0].task).toBe('greeting');
    const none = await client.json('/v1/chat/completions', { body: { model: 'experiment/none', messages } });
    expect([none.status, none.body.error.code]).toEqual([404, 'experiment_not_found']);
  });
});
