/** An experiment over a real model: chosen, generated, scored and learnt from, by OpenAI's own client, on both hosts. */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import type { Stack } from '../../infra/local/stack.ts';
import { EdgeClient } from '../contract/edge.ts';
import { chatModel, missingPool, PoolRun } from './pool-run.ts';

const reason = missingPool();
const messages = [{ role: 'user' as const, content: 'What is the capital of France? Answer in one sentence.' }];
const name = 'capitals';

describe.skipIf(reason !== '').each<EdgeHost>(['workers', 'supabase'])(`an experiment through %s ${reason}`, (host) => {
  let pool: PoolRun;
  let stack: Stack;
  let client: EdgeClient;
  let openai: OpenAI;

  beforeAll(async () => {
    pool = await PoolRun.start();
    const node = await pool.addNode();
    stack = await pool.startEdge(host, node);
    client = new EdgeClient(stack.url, stack.key);
    openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.key, maxRetries: 0 });
    const made = await client.json('/v1/experiments', {
      body: {
        name,
        settings: { model: chatModel, temperature: 0 },
        arms: [
          { name: 'enough', settings: { max_tokens: 24 } },
          { name: 'too-short', settings: { max_tokens: 1 } },
        ],
        rewards: [
          { name: 'right', source: 'scorer', scorer: { type: 'pattern', pattern: 'Paris' } },
          { name: 'time', source: 'latency_ms', worst: 60_000, best: 0, weight: 0 },
          { name: 'length', source: 'output_tokens', worst: 100, best: 0, weight: 0 },
        ],
      },
    });
    expect(made.status).toBe(201);
  });
  afterAll(async () => {
    await stack?.stop();
    await pool?.stop();
  });

  test('the arm that answers is told from the one that is cut off, whole and streamed', async () => {
    for (let call = 0; call < 8; call += 1) {
      const { data, response } = await openai.chat.completions
        .create({ model: `experiment/${name}`, messages })
        .withResponse();
      const arm = response.headers.get('treeline-arm');
      expect(data.choices[0]?.finish_reason).toBe(arm === 'too-short' ? 'length' : 'stop');
    }
    const stream = await openai.chat.completions.create({
      model: `experiment/${name}`,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let tokens = 0;
    for await (const { usage } of stream) tokens = usage?.completion_tokens ?? tokens;
    expect(tokens).toBeGreaterThan(0);

    const arms = async () => (await client.json(`/v1/experiments/${name}/analysis`)).body.tasks[0].arms;
    const count = async () => (await arms()).reduce((sum: number, arm: { count: number }) => sum + arm.count, 0);
    await expect.poll(count, { timeout: 20_000 }).toBe(9);
    const [enough, tooShort] = await arms();
    expect(enough.count).toBeGreaterThan(0);
    expect(enough.mean).toBe(1);
    expect(enough.rewards[2].mean).toBeGreaterThan(3);
    expect(tooShort.mean).toBe(0);
    if (tooShort.count > 0) expect(tooShort.rewards[2].mean).toBeCloseTo(1, 3);
  });
});
