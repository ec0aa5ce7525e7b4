/** Names of models behind which no one model stands, but a capability that answers a chat call by calls of models. */
import type { Caller } from '../tenancy/caller.ts';
import type { ChatContext, ChatRequest } from './chat-models.ts';

/** One capability's models. */
export interface VirtualModels {
  /** What the names of its models begin with, such as `abmcts/`. */
  readonly prefix: string;
  /** Whom `/v1/models` names as their owner. */
  readonly owner: string;
  /** Its models for `caller`, where `chatModels` are those that chat. */
  names(chatModels: readonly string[], caller: Caller): readonly string[] | Promise<readonly string[]>;
  /** The answer to a call of one of them, whole or as a stream. @throws ApiError */
  answer(request: ChatRequest, context: ChatContext): Promise<Response>;
}
