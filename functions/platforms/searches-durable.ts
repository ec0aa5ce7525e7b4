/** The port `Searches` on durable objects of Cloudflare: each search is an object that keeps its log and drives itself. */
import { DurableObject } from 'cloudflare:workers';
import {
  type Background,
  type SearchDriver,
  type Searches,
  type SearchJournal,
  type SearchKey,
  searchEntriesEachMax,
} from '../ports.ts';

/** Milliseconds after which an object that was killed is started again by its alarm. */
export const watchMs = 20_000;
/** Longest time that one alarm drives, in milliseconds; alarms are ended after 15 minutes. */
export const driveMsMax = 600_000;
/** Longest wait of one call for entries, in milliseconds. */
export const waitMsMax = 30_000;
/** Milliseconds after which a search is not driven any more: deadlines are shorter, so it cannot be. 2 days. */
export const driveAgeMsMax = 2 * 86_400_000;
/** Milliseconds that a search is kept after its end: 7 days. */
export const retentionMs = 7 * 86_400_000;

interface SearchStub {
  create(key: SearchKey, entries: readonly string[], isRunning: boolean): Promise<void>;
  read(after: number, waitMs: number): Promise<string[] | null>;
  append(length: number, entries: readonly string[], isRunning: boolean): Promise<boolean>;
  wake(): Promise<void>;
}

/** The binding of the class `Search`. */
export interface SearchNamespace {
  getByName(name: string): SearchStub;
}

interface Head {
  readonly key: SearchKey;
  readonly isRunning: boolean;
  /** When it was last begun or ended, in milliseconds since the Unix epoch. */
  readonly since: number;
}

/** The class of the objects; `driverOf` gives what carries searches on, from the worker's bindings. */
export function searchObject<Bindings>(driverOf: (bindings: Bindings) => SearchDriver) {
  return class Search extends DurableObject<Bindings> implements SearchJournal {
    #changed = Promise.withResolvers<void>();
    #isDriving = false;

    async create(key: SearchKey, entries: readonly string[], isRunning: boolean): Promise<void> {
      const { sql, kv } = this.ctx.storage;
      sql.exec('create table if not exists entries (number integer primary key, entry text not null)');
      kv.put('head', { key, isRunning, since: Date.now() } satisfies Head);
      this.#add(0, entries);
    }

    async read(after: number, waitMs: number): Promise<string[] | null> {
      if (this.#head === null) return null;
      const entries = this.#entries(after);
      if (entries.length > 0 || waitMs <= 0) return entries;
      const timer = Promise.withResolvers<void>();
      const timeout = setTimeout(timer.resolve, Math.min(waitMs, waitMsMax));
      await Promise.race([this.#changed.promise, timer.promise]);
      clearTimeout(timeout);
      return this.#entries(after);
    }

    async append(length: number, entries: readonly string[], isRunning: boolean): Promise<boolean> {
      const head = this.#head;
      if (head === null || length !== this.#length) return false;
      this.#add(length, entries);
      if (head.isRunning !== isRunning) {
        this.ctx.storage.kv.put('head', { ...head, isRunning, since: Date.now() } satisfies Head);
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const changed = this.#changed;
      this.#changed = { promise, resolve, reject };
      changed.resolve();
      return true;
    }

    /** Has the alarm come at once, unless the object is at work. */
    async wake(): Promise<void> {
      if (this.#head?.isRunning === true && !this.#isDriving) await this.ctx.storage.setAlarm(Date.now());
    }

    /** Drives the search. The next alarm is set first: it comes where this one is killed. */
    async alarm(): Promise<void> {
      const head = this.#head;
      if (head === null) return;
      if (!head.isRunning || Date.now() > head.since + driveAgeMsMax) {
        await this.#keepOrDelete(head);
        return;
      }
      await this.ctx.storage.setAlarm(Date.now() + watchMs);
      if (this.#isDriving) return;
      this.#isDriving = true;
      const background: Background = { run: (work) => this.ctx.waitUntil(work) };
      const paused = AbortSignal.timeout(driveMsMax);
      try {
        await driverOf(this.env)(head.key, this, background, paused);
      } catch {
        // The driver has said why; the next alarm tries again.
      } finally {
        this.#isDriving = false;
        const pauseMs = this.#head?.isRunning !== true ? retentionMs : paused.aborted ? 0 : watchMs;
        await this.ctx.storage.setAlarm(Date.now() + pauseMs);
      }
    }

    /** An alarm after the end: it is over, or its time is not yet. */
    async #keepOrDelete({ since }: Head): Promise<void> {
      const until = since + retentionMs;
      if (Date.now() >= until) await this.ctx.storage.deleteAll();
      else await this.ctx.storage.setAlarm(until);
    }

    get #head(): Head | null {
      return this.ctx.storage.kv.get<Head>('head') ?? null;
    }

    get #length(): number {
      const [row] = this.ctx.storage.sql.exec('select count(*) as length from entries').toArray();
      return Number(row?.length ?? 0);
    }

    #add(length: number, entries: readonly string[]): void {
      for (const [at, entry] of entries.entries()) {
        this.ctx.storage.sql.exec('insert into entries (number, entry) values (?, ?)', length + at, entry);
      }
    }

    #entries(after: number): string[] {
      const text = 'select entry from entries where number >= ? order by number limit ?';
      const rows = this.ctx.storage.sql.exec(text, after, searchEntriesEachMax);
      return rows.toArray().map(({ entry }) => String(entry));
    }
  };
}

/** The port over the durable objects of `namespace`, which drive themselves. */
export function durableSearches(namespace: SearchNamespace, driven: (drive: SearchDriver) => void): Searches {
  const stubOf = ({ tenantId, id }: SearchKey) => namespace.getByName(`${tenantId}/${id}`);
  return {
    create: (key, entries, isRunning) => stubOf(key).create(key, entries, isRunning),
    journal: (key) => {
      const stub = stubOf(key);
      return {
        read: (after, waitMs) => stub.read(after, waitMs),
        append: (length, entries, isRunning) => stub.append(length, entries, isRunning),
      };
    },
    wake: (key) => stubOf(key).wake(),
    // Their alarms do.
    takeUp: () => {},
    drivenBy: driven,
  };
}
