import { expect, test } from 'vitest';
import { parseRequest } from '../../openapi.ts';
import { ToolChoice } from '../../pool-client/gen/services_pb.js';
import { beginningLengthMax, beginningOf, poolChatRequest, toGenerateRequest } from './chat-request.ts';

const messages = [{ role: 'user', content: 'hello' }];
const parse = (fields: object) => parseRequest(poolChatRequest, { model: 'm', messages, ...fields });
const convert = (fields: object) => toGenerateRequest(parse(fields), 'tenant');

test('a request with no more than model and messages asks for one free choice', () => {
  expect(convert({})).toEqual({
    model: 'm',
    messages: [{ role: 'user', content: 'hello', name: '', toolCallsJson: '', toolCallId: '' }],
    sampling: { logitBias: {} },
    stop: [],
    n: 1,
    jsonSchema: '',
    toolsJson: '',
    ignoreEos: false,
    cacheSalt: 'tenant',
  });
});

test.each<[object, object]>([
  [{ temperature: 0, top_p: 0.5 }, { sampling: { temperature: 0, topP: 0.5 } }],
  [
    { top_k: 40, min_p: 0.1, presence_penalty: -2, frequency_penalty: 2, repetition_penalty: 1.1 },
    { sampling: { topK: 40, minP: 0.1, presencePenalty: -2, frequencyPenalty: 2, repetitionPenalty: 1.1 } },
  ],
  [{ logit_bias: { 50256: -100 } }, { sampling: { logitBias: { 50256: -100 } } }],
  [{ max_tokens: 5 }, { maxTokens: 5 }],
  [{ max_tokens: 5, max_completion_tokens: 6 }, { maxTokens: 6 }],
  [{ stop: 'END' }, { stop: ['END'] }],
  [
    { stop: ['a', 'b'], n: 3 },
    { stop: ['a', 'b'], n: 3 },
  ],
  [{ logprobs: true }, { topLogprobs: 0 }],
  [{ logprobs: true, top_logprobs: 5 }, { topLogprobs: 5 }],
  [{ response_format: { type: 'text' } }, { jsonSchema: '' }],
  [{ response_format: { type: 'json_object' } }, { jsonSchema: '{"type":"object"}' }],
  [
    { response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'integer' } } } },
    { jsonSchema: '{"type":"integer"}' },
  ],
  [
    { tools: [{ type: 'function', function: { name: 'f' } }] },
    { toolsJson: '[{"type":"function","function":{"name":"f"}}]', toolChoice: ToolChoice.AUTO, toolName: '' },
  ],
  [
    { tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'required', parallel_tool_calls: false },
    { toolChoice: ToolChoice.REQUIRED, toolName: '', parallelToolCalls: false },
  ],
  [
    {
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: { type: 'function', function: { name: 'f' } },
    },
    { toolChoice: ToolChoice.REQUIRED, toolName: 'f' },
  ],
  [{ tools: [], tool_choice: 'auto', parallel_tool_calls: true }, { toolsJson: '' }],
  [{ tools: [{ type: 'function' }], tool_choice: 'none' }, { toolsJson: '' }],
  [
    {
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
      ],
    },
    { messages: [{ role: 'system', content: 'ab' }] },
  ],
  [
    {
      messages: [
        { role: 'assistant', content: null, tool_calls: [{ id: 'c' }] },
        { role: 'tool', tool_call_id: 'c' },
      ],
    },
    {
      messages: [
        { toolCallsJson: '[{"id":"c"}]', content: '' },
        { role: 'tool', toolCallId: 'c' },
      ],
    },
  ],
  [{ temperature: null, stop: null, n: null, user: 'u', metadata: {} }, { n: 1 }],
])('%j becomes %j', (fields, expected) => {
  expect(convert(fields)).toMatchObject(expected);
});

test('seeds are signed at the door and unsigned in the pool', () => {
  expect(convert({ seed: 7 }).sampling).toMatchObject({ seed: 7n });
  expect(convert({ seed: -1 }).sampling).toMatchObject({ seed: 2n ** 64n - 1n });
});

test.each<[object, string]>([
  [{ temperature: 2.1 }, 'temperature'],
  [{ top_p: 0 }, 'top_p'],
  [{ n: 0 }, 'n'],
  [{ n: 17 }, 'n'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ stop: '' }, 'stop'],
  [{ stop: Array.from({ length: 17 }, () => 'a') }, 'stop'],
  [{ stop: 'ü'.repeat(129) }, 'stop'],
  [{ logit_bias: { a: 1 } }, 'logit_bias.a'],
  [{ logit_bias: { 1: 101 } }, 'logit_bias.1'],
  [{ top_logprobs: 2 }, 'top_logprobs'],
  [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  [{ response_format: { type: 'xml' } }, 'response_format.type'],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [{ tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'any' }, 'tool_choice'],
  [
    {
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: { type: 'function', function: { name: 'g' } },
    },
    'tool_choice',
  ],
  [
    {
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: 'required',
      response_format: { type: 'json_object' },
    },
    'response_format',
  ],
  [{ tools: Array.from({ length: 129 }, () => ({ type: 'function' })) }, 'tools'],
  [{ functions: [] }, 'functions'],
  [{ modalities: ['audio'] }, 'modalities.0'],
  [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] }, 'messages.0.content'],
  [{ messages: [{ role: 'robot', content: 'a' }] }, 'messages.0.role'],
])('%j is refused, and the field named', (fields, parameter) => {
  expect(() => convert(fields)).toThrow(expect.objectContaining({ code: 'invalid_request', parameter }));
});

test('all turns of a conversation have one beginning; other tenants, models and questions have others', () => {
  const system = { role: 'system', content: 'Be brief.' };
  const first = parse({ messages: [system, ...messages] });
  const third = parse({
    messages: [system, ...messages, { role: 'assistant', content: 'hi' }, { role: 'user', content: 'and?' }],
  });
  const own = beginningOf(first, 't');
  expect(beginningOf(third, 't')).toBe(own);
  const others = [
    beginningOf(first, 'other'),
    beginningOf(parse({ model: 'other', messages: first.messages }), 't'),
    beginningOf(parse({ messages: [system, { role: 'user', content: 'bye' }] }), 't'),
    beginningOf(parse({}), 't'),
  ];
  expect(new Set([own, ...others]).size).toBe(5);
  const long = parse({ messages: [{ role: 'user', content: 'a'.repeat(100_000) }] });
  expect(beginningOf(long, 't')).toHaveLength(beginningLengthMax);
});
