/** What a Redis command answers, apart from how it is written on the wire. */

/** One answer. `bulk` null is Redis' nil. */
export type Reply =
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'bulk'; readonly value: Uint8Array | null }
  | { readonly kind: 'array'; readonly items: readonly Reply[] };

/** A command: its name and parameters, as bytes. */
export type Command = readonly Uint8Array[];

/** Whatever runs commands: the store in this process, or a real Redis. */
export interface Executor {
  execute(command: Command): Promise<Reply>;
  /** Runs `commands` with nothing in between; one reply each. */
  executeTogether(commands: readonly Command[]): Promise<Reply[]>;
  /** Gives connections back, where there are any. */
  close(): Promise<void>;
}

export const ok: Reply = { kind: 'status', text: 'OK' };
export const nil: Reply = { kind: 'bulk', value: null };

export function errorReply(text: string): Reply {
  return { kind: 'error', text };
}

export function integerReply(value: number | bigint | boolean): Reply {
  return { kind: 'integer', value: BigInt(value) };
}

export function bulkReply(value: Uint8Array | string | null): Reply {
  return { kind: 'bulk', value: typeof value === 'string' ? Buffer.from(value) : value };
}
