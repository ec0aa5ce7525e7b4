/** The pool's `GenerateResponse` messages as OpenAI's chat completion: whole, or as chunks. */
import { ApiError } from '../../errors.ts';
import {
  FinishReason,
  type GenerateResponse,
  type TokenLogprob,
  type ToolCallDelta,
  type Usage,
} from '../../pool-client/gen/services_pb.js';
import { gatherCall, shownCall } from './tools.ts';

/** What stands in every chunk of one answer. */
export interface AnswerHead {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
}

type Reason = 'stop' | 'length' | 'tool_calls';

/** Why a choice ended, in OpenAI's words; null while it goes on. @throws ApiError where it was ended from outside. */
export function finishReasonOf(reason: FinishReason): Reason | null {
  switch (reason) {
    case FinishReason.STOP:
      return 'stop';
    case FinishReason.LENGTH:
      return 'length';
    case FinishReason.TOOL_CALLS:
      return 'tool_calls';
    case FinishReason.DEADLINE:
      throw new ApiError('upstream_timeout', 'The time for this answer was over before it was complete.');
    case FinishReason.CANCELLED:
      throw new ApiError('upstream_failed', 'The node gave the answer up before it was complete.');
    default:
      return null;
  }
}

/** Token counts as OpenAI names them. */
export function usageOf({ promptTokens, completionTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

function tokenOf({ piece, logprob }: { readonly piece: Uint8Array; readonly logprob: number }) {
  // A token may be a part of a character: its bytes say what its text cannot.
  return { token: new TextDecoder().decode(piece), logprob, bytes: Array.from(piece) };
}

const logprobsOf = (tokens: readonly TokenLogprob[]) =>
  tokens.map((token) => ({ ...tokenOf(token), top_logprobs: token.top.map(tokenOf) }));

/** What a message adds to its choice; null where that is nothing. */
function deltaOf({ text, logprobs, toolCalls }: GenerateResponse): object | null {
  const hasContent = text !== '' || (logprobs.length > 0 && toolCalls.length === 0);
  if (!hasContent && toolCalls.length === 0) return null;
  const calls = toolCalls.map((call) => ({ index: call.index, ...shownCall(call) }));
  return { ...(hasContent ? { content: text } : {}), ...(calls.length > 0 ? { tool_calls: calls } : {}) };
}

/** Makes chunks of messages, in order. One an answer. */
export class ChunkMaker {
  readonly #head: AnswerHead;
  readonly #hasUsage: boolean;
  readonly #begun = new Set<number>();

  /** `hasUsage`: the client asked for `stream_options.include_usage`. */
  constructor(head: AnswerHead, hasUsage: boolean) {
    this.#head = head;
    this.#hasUsage = hasUsage;
  }

  /** The chunks for one message. @throws ApiError as `finishReasonOf` */
  chunks(message: GenerateResponse): object[] {
    const { index, logprobs, usage } = message;
    const chunks: object[] = [];
    const delta = deltaOf(message);
    if ((delta !== null || message.finishReason !== FinishReason.UNSPECIFIED) && !this.#begun.has(index)) {
      this.#begun.add(index);
      chunks.push(this.#chunk(index, { role: 'assistant', content: '' }, [], null));
    }
    if (delta !== null) chunks.push(this.#chunk(index, delta, logprobs, null));
    const reason = finishReasonOf(message.finishReason);
    if (reason !== null) chunks.push(this.#chunk(index, {}, [], reason));
    if (usage !== undefined && this.#hasUsage) chunks.push({ ...this.#base(), choices: [], usage: usageOf(usage) });
    return chunks;
  }

  #base() {
    return { ...this.#head, object: 'chat.completion.chunk' as const };
  }

  #chunk(index: number, delta: object, logprobs: readonly TokenLogprob[], reason: Reason | null): object {
    const content = logprobs.length === 0 ? null : { content: logprobsOf(logprobs), refusal: null };
    const choice = { index, delta, logprobs: content, finish_reason: reason };
    return { ...this.#base(), choices: [choice], ...(this.#hasUsage ? { usage: null } : {}) };
  }
}

interface Choice {
  text: string;
  calls: ToolCallDelta[];
  reason: Reason | null;
  logprobs: TokenLogprob[];
}

/** A choice as a message; its content is null where it only calls tools. */
function messageOf({ text, calls }: Choice) {
  return {
    role: 'assistant' as const,
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(calls.length > 0 ? { tool_calls: calls.map(shownCall) } : {}),
  };
}

/** Collects messages into one whole answer. */
export class CompletionMaker {
  readonly #choices = new Map<number, Choice>();
  #usage: Usage | undefined;

  /** Takes the next message. @throws ApiError as `finishReasonOf` */
  add({ index, text, toolCalls, logprobs, finishReason, usage }: GenerateResponse): void {
    const choice = this.#choices.get(index) ?? { text: '', calls: [], reason: null, logprobs: [] };
    choice.text += text;
    for (const piece of toolCalls) gatherCall(choice.calls, piece);
    choice.logprobs.push(...logprobs);
    choice.reason = finishReasonOf(finishReason) ?? choice.reason;
    this.#choices.set(index, choice);
    this.#usage = usage ?? this.#usage;
  }

  /** The answer. @throws ApiError upstream_failed where a choice has not ended */
  completion(head: AnswerHead) {
    const choices = [...this.#choices].sort(([a], [b]) => a - b);
    return {
      ...head,
      object: 'chat.completion' as const,
      choices: choices.map(([index, choice]) => {
        const { reason, logprobs } = choice;
        if (reason === null) throw new ApiError('upstream_failed', 'The node’s answer ended before it was complete.');
        return {
          index,
          message: messageOf(choice),
          logprobs: logprobs.length === 0 ? null : { content: logprobsOf(logprobs), refusal: null },
          finish_reason: reason,
        };
      }),
      ...(this.#usage === undefined ? {} : { usage: usageOf(this.#usage) }),
    };
  }
}
