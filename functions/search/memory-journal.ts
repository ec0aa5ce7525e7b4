/** The log of a search that lives as long as one request. */
import { type SearchJournal, searchEntriesEachMax } from '../ports.ts';

/** Nobody else writes to it, so that who waits for more waits for ever. */
export class MemoryJournal implements SearchJournal {
  readonly #entries: string[];

  constructor(entries: readonly string[]) {
    this.#entries = [...entries];
  }

  read(after: number, waitMs: number): Promise<string[]> {
    const entries = this.#entries.slice(after, after + searchEntriesEachMax);
    return entries.length === 0 && waitMs > 0 ? new Promise(() => {}) : Promise.resolve(entries);
  }

  async append(length: number, entries: readonly string[]): Promise<boolean> {
    if (length !== this.#entries.length) return false;
    this.#entries.push(...entries);
    return true;
  }
}
