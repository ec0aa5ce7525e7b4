/** A part of a local run: something that was started, may end by itself, and is stopped. */

import type { Address } from './address.ts';

/** One running part. */
export interface Part {
  readonly name: string;
  /** Null for a part inside our own process. */
  readonly pid: number | null;
  /** Resolves, with a sentence, when the part has ended though nobody stopped it; otherwise never. */
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

/** A part that people reach at an address of its own. */
export interface ServicePart extends Part {
  readonly address: Address;
}

/** A promise that never resolves: for parts that cannot end by themselves. */
export const never: Promise<string> = new Promise(() => undefined);
