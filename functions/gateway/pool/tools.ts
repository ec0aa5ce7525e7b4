/** Tools as OpenAI's requests and answers have them, and as the pool's do. The pool's nodes read the calls of a model. */
import { z } from 'zod';
import { ApiError } from '../../errors.ts';
import { type ToolCallDelta, ToolChoice } from '../../pool-client/gen/services_pb.js';

/** Tools of one request at most. */
export const toolsMax = 128;

/** A function that the model may call. What its parameters may be is the node's to say. */
const tool = z.looseObject({ type: z.string(), function: z.looseObject({ name: z.string() }).optional() });

const named = z.object({ type: z.literal('function'), function: z.object({ name: z.string().min(1) }) });

const toolChoice = z.union([z.enum(['auto', 'none', 'required']), named], {
  error: 'must be auto, none, required, or a function by its name',
});

/** The fields of a chat request that are about tools. */
export const toolFields = z.object({
  tools: z.array(tool).max(toolsMax).nullish().describe('Functions that the model may call.'),
  tool_choice: toolChoice
    .nullish()
    .describe(
      'required, or a function by its name: the answer is one call, its arguments held to the function’s schema.',
    ),
  parallel_tool_calls: z.boolean().nullish().describe('false: one call at most.'),
});

type ToolFields = z.infer<typeof toolFields>;

/** What of a `GenerateRequest` is about tools. */
interface AskedTools {
  readonly toolsJson: string;
  readonly toolChoice?: ToolChoice;
  readonly toolName?: string;
  readonly parallelToolCalls?: boolean;
}

/** How a `GenerateRequest` says it. @throws ApiError where a call is asked for that cannot be made */
export function toTools({ tools, tool_choice: choice, parallel_tool_calls: isParallel }: ToolFields): AskedTools {
  const known = tools ?? [];
  const name = typeof choice === 'object' ? choice?.function.name : undefined;
  const isRequired = choice === 'required' || name !== undefined;
  if (isRequired && known.length === 0) throw refused('needs tools');
  if (name !== undefined && !known.some((one) => one.function?.name === name)) {
    throw refused('names a function that is not among tools');
  }
  if (known.length === 0 || choice === 'none') return { toolsJson: '' };
  return {
    toolsJson: JSON.stringify(known),
    toolChoice: isRequired ? ToolChoice.REQUIRED : ToolChoice.AUTO,
    toolName: name ?? '',
    ...(isParallel === false ? { parallelToolCalls: false } : {}),
  };
}

const refused = (reason: string) =>
  new ApiError('invalid_request', `tool_choice: ${reason}`, { parameter: 'tool_choice' });

/** Adds a piece of a call to the calls gathered so far. */
export function gatherCall(calls: ToolCallDelta[], piece: ToolCallDelta): void {
  const begun = calls.find(({ index }) => index === piece.index);
  if (begun === undefined) calls.push({ ...piece });
  else begun.arguments += piece.arguments;
}

/** A call as OpenAI shows it, or a piece of one: its id and its name come with the first piece alone. */
export function shownCall({ id, name, arguments: written }: ToolCallDelta) {
  if (id === '') return { function: { arguments: written } };
  return { id, type: 'function' as const, function: { name, arguments: written } };
}
