/** OpenAI's chat request as the pool's `GenerateRequest`. What the pool cannot do is refused, never left out in silence. */
import { z } from 'zod';
import { ApiError } from '../../errors.ts';
import type { Fields } from '../../pool-client/client.ts';
import { type GenerateRequestSchema, ToolChoice } from '../../pool-client/gen/services_pb.js';
import { toolFields, toTools } from './tools.ts';

/** Choices of one request at most. */
export const choicesMax = 16;
/** Stop sequences at most, and bytes of each. */
export const stopsMax = 16;
export const stopBytesMax = 256;

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const content = z.union([z.string(), z.array(textPart)], {
  error: 'must be a string or an array of text parts; the pool’s models read text alone',
});

const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: content.nullish(),
  name: z.string().nullish(),
  tool_calls: z.array(z.unknown()).nullish(),
  tool_call_id: z.string().nullish(),
});

const stopSequence = z
  .string()
  .min(1)
  .refine((text) => new TextEncoder().encode(text).byteLength <= stopBytesMax, `must be at most ${stopBytesMax} bytes`);

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ schema: z.union([z.record(z.string(), z.unknown()), z.boolean()]).optional() }),
  }),
]);

/** What the pool reads of a chat request; fields that it does not know are the client's own business. */
export const poolChatRequest = z.object({
  model: z.string(),
  messages: z.array(message).min(1),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().gt(0).max(2).nullish(),
  seed: z.int().nullish(),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/), z.number().min(-100).max(100)).nullish(),
  max_tokens: z.int().min(1).max(1_000_000).nullish(),
  max_completion_tokens: z.int().min(1).max(1_000_000).nullish(),
  stop: z.union([stopSequence, z.array(stopSequence).max(stopsMax)]).nullish(),
  n: z.int().min(1).max(choicesMax).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: responseFormat.nullish(),
  ...toolFields.shape,
  functions: z
    .unknown()
    .refine((value) => value === undefined, 'is out of use; give tools')
    .optional(),
  modalities: z.array(z.literal('text', { error: 'the pool’s models write text alone' })).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  ignore_eos: z.boolean().nullish(),
});

/** A chat request that the pool can do. */
export type PoolChatRequest = z.infer<typeof poolChatRequest>;

const textOf = (value: PoolChatRequest['messages'][number]['content']): string =>
  typeof value === 'string' ? value : (value ?? []).map(({ text }) => text).join('');

/** The schema that the answer must satisfy; empty: free text. */
function jsonSchema(format: PoolChatRequest['response_format']): string {
  switch (format?.type) {
    case 'json_object':
      return '{"type":"object"}';
    case 'json_schema':
      return JSON.stringify(format.json_schema.schema ?? {});
    default:
      return '';
  }
}

/** A value that the contract leaves out where the client did. */
const given = <Name extends string, Value>(name: Name, value: Value | null | undefined) =>
  (value === null || value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value };

function sampling(request: PoolChatRequest) {
  return {
    ...given('temperature', request.temperature),
    ...given('topP', request.top_p),
    ...given('topK', request.top_k),
    ...given('minP', request.min_p),
    ...given('presencePenalty', request.presence_penalty),
    ...given('frequencyPenalty', request.frequency_penalty),
    ...given('repetitionPenalty', request.repetition_penalty),
    // OpenAI's seeds are signed.
    ...given('seed', typeof request.seed === 'number' ? BigInt.asUintN(64, BigInt(request.seed)) : null),
    logitBias: request.logit_bias ?? {},
  };
}

/**
 * The pool's call for `request`. `salt` keeps the tenants' caches of beginnings apart: whether a beginning was known shows
 * in the time that an answer takes.
 */
export function toGenerateRequest(request: PoolChatRequest, salt: string): Fields<typeof GenerateRequestSchema> {
  const { messages, stop, logprobs, top_logprobs: topLogprobs } = request;
  if (topLogprobs !== null && topLogprobs !== undefined && logprobs !== true) {
    throw new ApiError('invalid_request', 'top_logprobs: needs logprobs to be true', { parameter: 'top_logprobs' });
  }
  const [schema, asked] = [jsonSchema(request.response_format), toTools(request)];
  if (schema !== '' && asked.toolChoice === ToolChoice.REQUIRED) {
    const reason = 'response_format: cannot be kept to where a tool has to be called';
    throw new ApiError('invalid_request', reason, { parameter: 'response_format' });
  }
  return {
    model: request.model,
    messages: messages.map((one) => ({
      role: one.role === 'developer' ? 'system' : one.role,
      content: textOf(one.content),
      name: one.name ?? '',
      toolCallsJson: (one.tool_calls ?? []).length > 0 ? JSON.stringify(one.tool_calls) : '',
      toolCallId: one.tool_call_id ?? '',
    })),
    sampling: sampling(request),
    ...given('maxTokens', request.max_completion_tokens ?? request.max_tokens),
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
    n: request.n ?? 1,
    ...(logprobs === true ? { topLogprobs: topLogprobs ?? 0 } : {}),
    jsonSchema: schema,
    ...asked,
    ignoreEos: request.ignore_eos ?? false,
    cacheSalt: salt,
  };
}

/** Characters of a conversation's beginning that its node is found by. */
export const beginningLengthMax = 4_096;

/** What all turns of one conversation share: everything up to and with the first message of its user. */
export function beginningOf({ model, messages }: PoolChatRequest, salt: string): string {
  const firstOfUser = messages.findIndex(({ role }) => role === 'user');
  const beginning = messages.slice(0, firstOfUser < 0 ? 1 : firstOfUser + 1);
  const text = beginning.map(({ role, content: said }) => `${role}\n${textOf(said)}`).join('\n');
  return `${salt}\n${model}\n${text}`.slice(0, beginningLengthMax);
}
