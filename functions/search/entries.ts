/** The log of a search: what happened, in order. It is all that is kept, and everything else follows from it. */
import { type SearchJournal, searchEntriesEachMax } from '../ports.ts';
import type { Trial } from './core/search-module.ts';
import type { SearchDefinition } from './definition.ts';

/** Tokens of calls to one model. */
export interface ModelUsage {
  readonly model: string;
  readonly calls: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
}

/** Why a search has ended. */
export type EndReason =
  | 'score_reached'
  | 'trials'
  | 'tokens'
  | 'deadline'
  | 'failures'
  | 'gain'
  | 'exhausted'
  | 'cancelled';

/** One entry. `at` is in milliseconds since the Unix epoch. */
export type Entry = { readonly at: number } & (
  | {
      readonly type: 'started';
      readonly id: string;
      readonly definition: SearchDefinition;
      /** When it ends at the latest, in milliseconds since the Unix epoch. */
      readonly deadline_at: number;
      /** The key that started it, whose usage its calls are; null for a caller without one. */
      readonly key_id: string | null;
      /** The search that it was forked from, and how many forks lie behind it; null where it is none. */
      readonly origin: { readonly search: string; readonly depth: number } | null;
    }
  /** `count` trials were asked of the core, which gave these. */
  | { readonly type: 'asked'; readonly count: number; readonly trials: readonly Trial[] }
  | {
      readonly type: 'generated';
      readonly trial: number;
      readonly text: string;
      readonly finish_reason: string;
      readonly usage: ModelUsage;
      readonly latency_ms: number;
    }
  | {
      readonly type: 'scored';
      readonly trial: number;
      readonly score: number;
      readonly feedback: string;
      readonly usage: readonly ModelUsage[];
    }
  | {
      readonly type: 'failed';
      readonly trial: number;
      readonly stage: 'generate' | 'score';
      readonly code: string;
      readonly message: string;
      readonly usage: readonly ModelUsage[];
    }
  /** It goes on with these bounds. */
  | {
      readonly type: 'resumed';
      readonly trials: number;
      readonly tokens: number | null;
      readonly score_reached: number;
      readonly deadline_at: number;
    }
  | { readonly type: 'finished'; readonly reason: EndReason }
);

/** An entry of one type. */
export type EntryOf<Type extends Entry['type']> = Extract<Entry, { type: Type }>;

/** Whether a search is at work after `entries`, which are the last of its log. */
export function isRunningAfter(entries: readonly Entry[]): boolean {
  return entries.at(-1)?.type !== 'finished';
}

/** All entries of a log from number `after` on; null where there is no such search. */
export async function readEntries(journal: SearchJournal, after: number): Promise<Entry[] | null> {
  const entries: Entry[] = [];
  for (let isWhole = false; !isWhole; ) {
    const texts = await journal.read(after + entries.length, 0);
    if (texts === null) return null;
    for (const text of texts) entries.push(JSON.parse(text) as Entry);
    isWhole = texts.length < searchEntriesEachMax;
  }
  return entries;
}

/** Sums usage by model, in the order in which models came first. */
export function summed(usages: readonly ModelUsage[]): ModelUsage[] {
  const sums = new Map<string, ModelUsage>();
  for (const one of usages) {
    const known = sums.get(one.model);
    sums.set(one.model, {
      model: one.model,
      calls: one.calls + (known?.calls ?? 0),
      input_tokens: one.input_tokens + (known?.input_tokens ?? 0),
      output_tokens: one.output_tokens + (known?.output_tokens ?? 0),
    });
  }
  return [...sums.values()];
}
