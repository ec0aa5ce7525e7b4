/** Chat at the edge by real nodes that the edge has found by discovery, on both hosts. */
import { setTimeout as delay } from 'node:timers/promises';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import type { ServicePart } from '../../infra/local/part.ts';
import type { Stack } from '../../infra/local/stack.ts';
import { EdgeClient } from '../contract/edge.ts';
import { chatModel, missingPool, PoolRun } from './pool-run.ts';

const reason = missingPool();
const messages = [{ role: 'user' as const, content: 'What is the capital of France? Answer in one sentence.' }];

describe.skipIf(reason !== '').each<EdgeHost>(['workers', 'supabase'])(
  `chat through %s by the pool ${reason}`,
  (host) => {
    let pool: PoolRun;
    let first: ServicePart;
    let stack: Stack;
    let client: EdgeClient;
    let openai: OpenAI;

    beforeAll(async () => {
      pool = await PoolRun.start();
      first = await pool.addNode();
      stack = await pool.startEdge(host, first);
      client = new EdgeClient(stack.url, stack.key);
      openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.key, maxRetries: 0 });
    });
    afterAll(async () => {
      await stack?.stop();
      await pool?.stop();
    });

    const ask = async (more: object = {}) =>
      (await client.json('/v1/chat/completions', {
        body: { model: chatModel, messages, max_tokens: 24, ...more },
      })) as {
        status: number;
        headers: Headers;
        // biome-ignore lint/suspicious/noExplicitAny: a test reads what an answer claims to be, and its expectations check it.
        body: any;
      };

    test('the pool’s models are listed as its own', async () => {
      const { body } = await client.json('/v1/models');
      expect(body.data).toContainEqual(expect.objectContaining({ id: chatModel, owned_by: 'pool' }));
    });

    test('a greedy answer is whole, makes sense, and its usage is counted', async () => {
      const { status, headers, body } = await ask({ temperature: 0 });
      expect(status).toBe(200);
      expect(body.choices[0].message.content).toContain('Paris');
      expect(body.usage.completion_tokens).toBeGreaterThan(3);
      expect(body.usage.total_tokens).toBe(body.usage.prompt_tokens + body.usage.completion_tokens);
      expect(headers.get('server-timing')).toContain('pool;dur=');
    });

    test('tokens stream to OpenAI’s own client as they come, and spell the whole answer', async () => {
      const whole = (await ask({ temperature: 0 })).body.choices[0].message.content;
      const stream = await openai.chat.completions.create({
        model: chatModel,
        messages,
        max_tokens: 24,
        temperature: 0,
        stream: true,
        stream_options: { include_usage: true },
      });
      const times: number[] = [];
      let text = '';
      let tokens = 0;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        tokens = chunk.usage?.completion_tokens ?? tokens;
        times.push(performance.now());
      }
      expect(text).toBe(whole);
      expect(times.length).toBeGreaterThan(5);
      expect(tokens).toBeGreaterThan(3);
      // Not all at once at the end.
      expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(5);
    });

    test('the same seed gives the same words, and n as many choices', async () => {
      const seeded = { temperature: 1, seed: 7, n: 2 };
      const [one, two] = [await ask(seeded), await ask(seeded)];
      const texts = ({ body }: typeof one) => body.choices.map((choice: { message: object }) => choice.message);
      expect(texts(one)).toHaveLength(2);
      expect(texts(one)).toEqual(texts(two));
    });

    test('an answer under a schema satisfies it', async () => {
      const schema = {
        type: 'object',
        // Bounded: a small model writes digits until its tokens are used up.
        properties: {
          city: { type: 'string', maxLength: 20 },
          population: { type: 'integer', minimum: 0, maximum: 99_999_999 },
        },
        required: ['city', 'population'],
        additionalProperties: false,
      };
      const { body } = await ask({
        temperature: 0,
        max_tokens: 64,
        response_format: { type: 'json_schema', json_schema: { name: 'city', schema } },
      });
      const answer = JSON.parse(body.choices[0].message.content);
      expect(answer).toEqual({ city: expect.any(String), population: expect.any(Number) });
    });

    const tools = ['add', 'multiply'].map((name) => ({
      type: 'function' as const,
      function: {
        name,
        description: `Takes two numbers and can ${name} them.`,
        parameters: {
          type: 'object',
          // Bounded, as above.
          properties: { a: { type: 'integer', maximum: 999 }, b: { type: 'integer', minimum: 0, maximum: 999 } },
          required: ['a', 'b'],
          additionalProperties: false,
        },
      },
    }));
    const sums = { a: expect.any(Number), b: expect.any(Number) };
    const question = [{ role: 'user' as const, content: 'What is 12 plus 30?' }];

    test('a tool that is required is called, with arguments that its schema allows', async () => {
      const { status, body } = await ask({ messages: question, tools, tool_choice: 'required', max_tokens: 128 });
      expect(status, JSON.stringify(body)).toBe(200);
      const [{ message, finish_reason: reason }] = body.choices;
      expect([message.content, reason, message.tool_calls.length]).toEqual([null, 'tool_calls', 1]);
      const [call] = message.tool_calls;
      expect(call).toMatchObject({ id: expect.stringMatching(/^call_/), type: 'function' });
      expect(['add', 'multiply']).toContain(call.function.name);
      expect(JSON.parse(call.function.arguments)).toEqual(sums);
    });

    test('a tool that is named streams to OpenAI’s own client, and its result may be given back', async () => {
      const stream = openai.chat.completions.stream({
        model: chatModel,
        messages: question,
        tools,
        tool_choice: { type: 'function', function: { name: 'multiply' } },
        max_tokens: 128,
        temperature: 0,
      });
      const { choices } = await stream.finalChatCompletion();
      const [choice] = choices;
      const call = choice?.message.tool_calls?.[0];
      if (choice === undefined || call?.type !== 'function') throw new Error(JSON.stringify(choices));
      expect([choice.finish_reason, call.function.name]).toEqual(['tool_calls', 'multiply']);
      expect(JSON.parse(call.function.arguments)).toEqual(sums);
      const given = [...question, choice.message, { role: 'tool', tool_call_id: call.id, content: '360' }];
      const next = await ask({ messages: given, tools, tool_choice: 'none', temperature: 0 });
      expect([next.status, next.body.choices?.[0].message.tool_calls]).toEqual([200, undefined]);
    });

    test('log-probabilities, stop sequences and limits are the pool’s', async () => {
      const { body } = await ask({ temperature: 0, logprobs: true, top_logprobs: 2 });
      const { content } = body.choices[0].logprobs;
      // The token that ends the answer is counted, and has no text.
      expect(content.length).toBe(body.usage.completion_tokens - 1);
      for (const { logprob, top_logprobs: top } of content) {
        expect(logprob).toBeLessThanOrEqual(0);
        expect(top).toHaveLength(2);
      }
      const stopped = await ask({ temperature: 0, stop: ['Paris'] });
      expect(stopped.body.choices[0]).toMatchObject({ finish_reason: 'stop' });
      expect(stopped.body.choices[0].message.content).not.toContain('Paris');
      const short = await ask({ temperature: 0, max_tokens: 2 });
      expect(short.body.choices[0].finish_reason).toBe('length');
      expect(short.body.usage.completion_tokens).toBe(2);
    });

    test('failures are OpenAI’s', async () => {
      const wrong = await ask({ temperature: 9 });
      expect([wrong.status, wrong.body.error.code, wrong.body.error.param]).toEqual([
        400,
        'invalid_request',
        'temperature',
      ]);
      const unknown = await client.json('/v1/chat/completions', { body: { model: 'none', messages } });
      expect([unknown.status, unknown.body.error.code]).toEqual([404, 'model_not_found']);
      const schema = { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'nonsense' } } };
      expect((await ask({ response_format: schema })).status).toBe(400);
      const tool = await ask({ tools: [{ type: 'function', function: { name: 'a b' } }] });
      expect([tool.status, tool.body.error.param]).toEqual([400, 'tools.0']);
    });

    test('a client that goes away frees its place at the node', async () => {
      const leaving = new AbortController();
      const response = await client.call('/v1/chat/completions', {
        body: { model: chatModel, messages, max_tokens: 1_500, ignore_eos: true, stream: true },
        signal: leaving.signal,
      });
      await response.body?.getReader().read();
      const running = async () => {
        const nodes = await (await fetch(`${first.address.url}/v1/nodes`)).json();
        const own = (nodes as { nodes: { address: string; load?: { running?: number } }[] }).nodes;
        return own.reduce((sum, { load }) => sum + (load?.running ?? 0), 0);
      };
      leaving.abort();
      const giveUpAt = performance.now() + 15_000;
      while ((await running()) > 0 && performance.now() < giveUpAt) await delay(200);
      expect(await running()).toBe(0);
    });

    test('a node that joins is found without being named, and takes over when the other dies', async () => {
      const second = await pool.addNode();
      const listed = async (): Promise<string[]> => {
        const { nodes } = (await (await fetch(`${first.address.url}/v1/nodes`)).json()) as {
          nodes: { address: string }[];
        };
        return nodes.map(({ address }) => address).sort();
      };
      const giveUpAt = performance.now() + 20_000;
      while ((await listed()).length < 2 && performance.now() < giveUpAt) await delay(100);
      expect(await listed()).toEqual([first.address.url, second.address.url].sort());
      // The edge reads the directory every few seconds, with the next call.
      await delay(3_500);
      await client.json('/v1/models');
      await delay(500);
      if (first.pid !== null) process.kill(first.pid, 'SIGKILL');
      for (let call = 0; call < 6; call += 1) {
        const { status, body } = await ask({
          temperature: 0,
          max_tokens: 4,
          messages: [{ role: 'user', content: `Say the number ${call}.` }],
        });
        expect([status, body.choices?.length]).toEqual([200, 1]);
      }
    });
  },
);
