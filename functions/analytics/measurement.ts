/** What a chat call has shown of the settings that it was made with. */

/** Figures of one call. */
export interface Measurement {
  readonly model: string;
  /** Milliseconds from the call to the end of its answer. */
  readonly latencyMs: number;
  /** Tokens as whoever answered counted them; null where nothing was said. */
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  /** Scores of the answer, by the names of the rewards that they are; one that could not be had is missing. */
  readonly scores: Readonly<Record<string, number>>;
}
