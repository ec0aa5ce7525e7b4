/** OpenAI's own client for Node. */
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { chatModel, embedder, helloWorld, poolUrl } from './pool.ts';

const client = new OpenAI({ baseURL: `${poolUrl()}/v1`, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user' as const, content: 'What is the capital of France?' }];
const chat = { model: chatModel, messages, temperature: 0, max_completion_tokens: 24 };

test('models: listed and retrieved', async () => {
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  expect(ids).toEqual(expect.arrayContaining([embedder, chatModel]));
  expect((await client.models.retrieve(chatModel)).owned_by).toBe('treeline');
  await expect(client.models.retrieve('none')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

test('chat: a stream says piece by piece what the whole answer says', async () => {
  const whole = await client.chat.completions.create(chat);
  expect(whole.choices[0]?.message.content).toMatch(/\S/);
  const stream = await client.chat.completions.create({
    ...chat,
    stream: true,
    stream_options: { include_usage: true },
  });
  const pieces: string[] = [];
  let tokens = 0;
  for await (const { choices, usage } of stream) {
    const content = choices[0]?.delta.content;
    if (typeof content === 'string') pieces.push(content);
    tokens = usage?.completion_tokens ?? tokens;
  }
  expect(pieces.join('')).toBe(whole.choices[0]?.message.content);
  expect(pieces.length).toBeGreaterThan(3);
  expect(tokens).toBe(whole.usage?.completion_tokens);
});

test('chat: the streaming helper puts the answer together', async () => {
  const final = await client.chat.completions.stream(chat).finalChatCompletion();
  expect(final.choices[0]?.message.content).toMatch(/\S/);
});

test('chat: log-probabilities', async () => {
  const answer = await client.chat.completions.create({ ...chat, logprobs: true, top_logprobs: 2 });
  const content = answer.choices[0]?.logprobs?.content ?? [];
  expect(content).toHaveLength(answer.usage?.completion_tokens ?? -1);
  for (const { logprob, top_logprobs } of content) {
    expect(top_logprobs).toHaveLength(2);
    expect(logprob).toBeCloseTo(Math.max(...top_logprobs.map((top) => top.logprob)), 3);
  }
});

test('chat: what is said keeps to a schema', async () => {
  const schema = { type: 'object', properties: { answer: { enum: ['yes', 'no'] } }, required: ['answer'] };
  const { choices } = await client.chat.completions.create({
    ...chat,
    messages: [{ role: 'user', content: 'Is the sky blue?' }],
    max_completion_tokens: 60,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'answer', strict: true, schema: { ...schema, additionalProperties: false } },
    },
  });
  const parsed: { answer: string } = JSON.parse(choices[0]?.message.content ?? '');
  expect(['yes', 'no']).toContain(parsed.answer);
});

test('chat: a tool that must be called is called, whole and streamed', async () => {
  const parameters = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
  const asked = {
    ...chat,
    max_completion_tokens: 80,
    tools: [
      {
        type: 'function' as const,
        function: { name: 'twice', parameters: { ...parameters, additionalProperties: false } },
      },
    ],
    tool_choice: 'required' as const,
  };
  const whole = await client.chat.completions.create(asked);
  const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
  for (const { choices } of [whole, streamed]) {
    const [call] = choices[0]?.message.tool_calls ?? [];
    if (call?.type !== 'function') throw new Error(JSON.stringify(choices));
    expect(call.function.name).toBe('twice');
    expect(JSON.parse(call.function.arguments)).toEqual({ a: expect.any(Number) });
    expect(choices[0]?.finish_reason).toBe('tool_calls');
  }
});

test('chat: an aborted stream ends', async () => {
  const stream = await client.chat.completions.create({ ...chat, max_completion_tokens: 1_500, stream: true });
  for await (const _ of stream) break;
  expect(stream.controller.signal.aborted).toBe(true);
});

test('completions: several choices of several prompts', async () => {
  const { choices } = await client.completions.create({
    model: chatModel,
    prompt: ['Once upon a time', 'The capital of France is'],
    n: 2,
    max_tokens: 4,
  });
  expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
});

test('embeddings: the client asks for base64 by itself and gives numbers', async () => {
  const { data, usage } = await client.embeddings.create({ model: embedder, input: ['hello world', 'grüße 🌲'] });
  expect(usage.prompt_tokens).toBeGreaterThan(4);
  expect(data.map(({ embedding }) => embedding.length)).toEqual([384, 384]);
  for (const [index, number] of helloWorld.entries()) expect(data[0]?.embedding[index]).toBeCloseTo(number, 1);
});

test('failures become the client’s own exceptions, with code and parameter', async () => {
  const unknown = client.embeddings.create({ model: 'none', input: 'a' });
  await expect(unknown).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  const wrong = client.chat.completions.create({ ...chat, temperature: 3 });
  await expect(wrong).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  await expect(wrong).rejects.toMatchObject({ code: 'invalid_request', param: 'temperature', status: 400 });
});
