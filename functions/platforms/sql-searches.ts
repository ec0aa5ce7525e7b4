/**
 * The port `Searches` on rows of Postgres, for hosts without durable objects. A search is driven in the background of
 * whichever request began it or found it without a driver; the lease sees to it that there is one at a time. A driver that
 * is killed is passed over when its lease has run out, by the next request of the tenant.
 */
import {
  type Background,
  type Clock,
  type Log,
  type SearchDriver,
  type Searches,
  type SearchJournal,
  SearchJournalLost,
  type SearchKey,
  type Sql,
  searchEntriesEachMax,
} from '../ports.ts';

/** Milliseconds after which a driver that vanished is passed over. */
export const leaseMs = 15_000;
/** Milliseconds after which a driver extends its lease. */
export const renewMs = 5_000;
/** Pause between two looks at a log that is waited for, in milliseconds. */
export const pollMs = 400;
/** Pause between two looks for searches without a driver, in milliseconds, for each tenant and isolate. */
export const takeUpPauseMs = 3_000;
/** Searches that one look takes up at most. */
export const takeUpMax = 4;
/** Tenants whose last look is remembered. */
const tenantsMax = 1_000;
/** Days after which a search without an entry is not taken up any more: deadlines are shorter, so it cannot be driven. */
export const takeUpDaysMax = 2;
/** Days that a search is kept after its last change. */
export const retentionDays = 7;

const createText = `with created as (
    insert into treeline.searches (tenant_id, id, length, is_running) values ($1, $2, $3, $4)
  )
  insert into treeline.search_entries (tenant_id, search_id, number, entry)
  select $1, $2, part.at - 1, part.entry from jsonb_array_elements_text($5::jsonb) with ordinality as part (entry, at)`;

// The update takes the row's lock, so of two writers with the same length one finds it changed.
const appendText = `with held as (
    update treeline.searches
    set length = length + $4, is_running = $5, changed_at = clock_timestamp(),
      leased_until = case when $7::bigint is null then leased_until
        else clock_timestamp() + make_interval(secs => $8::integer / 1000.0) end
    where tenant_id = $1 and id = $2 and length = $3 and ($7::bigint is null or token = $7::bigint)
    returning id
  )
  insert into treeline.search_entries (tenant_id, search_id, number, entry)
  select $1, $2, $3 + part.at - 1, part.entry
  from held cross join jsonb_array_elements_text($6::jsonb) with ordinality as part (entry, at)
  returning number`;

const takeText = `update treeline.searches
  set token = token + 1, leased_until = clock_timestamp() + make_interval(secs => $3::integer / 1000.0)
  where tenant_id = $1 and id = $2 and is_running and (leased_until is null or leased_until <= clock_timestamp())
  returning token::text as token`;

const renewText = `update treeline.searches
  set leased_until = clock_timestamp() + make_interval(secs => $4::integer / 1000.0)
  where tenant_id = $1 and id = $2 and token = $3::bigint
  returning id`;

const releaseText = `update treeline.searches set leased_until = null
  where tenant_id = $1 and id = $2 and token = $3::bigint`;

const orphansText = `select id::text as id from treeline.searches
  where tenant_id = $1 and is_running and (leased_until is null or leased_until <= clock_timestamp())
    and changed_at > now() - make_interval(days => ${takeUpDaysMax})
  order by changed_at limit ${takeUpMax}`;

const readText = `select entry from treeline.search_entries
  where tenant_id = $1 and search_id = $2 and number >= $3 order by number limit ${searchEntriesEachMax}`;

const existsText = 'select 1 from treeline.searches where tenant_id = $1 and id = $2';

const removeOldText = `delete from treeline.searches
  where tenant_id = $1 and changed_at < now() - make_interval(days => ${retentionDays})`;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface SqlSearchPorts {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly log: Log;
}

/** A log in the database; with a token, its driver's. */
class SqlJournal implements SearchJournal {
  readonly #ports: SqlSearchPorts;
  readonly #key: SearchKey;
  readonly #token: string | null;
  #renewAt = 0;

  constructor(ports: SqlSearchPorts, key: SearchKey, token: string | null) {
    this.#ports = ports;
    this.#key = key;
    this.#token = token;
  }

  async read(after: number, waitMs: number): Promise<string[] | null> {
    const { clock } = this.#ports;
    const giveUpAt = clock.elapsed() + waitMs;
    for (;;) {
      await this.#renew();
      const entries = await this.#entries(after);
      const left = giveUpAt - clock.elapsed();
      if (entries === null || entries.length > 0 || left <= 0) return entries;
      await pause(Math.min(pollMs, left));
    }
  }

  async append(length: number, entries: readonly string[], isRunning: boolean): Promise<boolean> {
    const { tenantId, id } = this.#key;
    const values = [tenantId, id, length, entries.length, isRunning, JSON.stringify(entries), this.#token, leaseMs];
    const added = await this.#ports.sql.asTenant(tenantId, (transaction) => transaction.query(appendText, values));
    if (added.length > 0) return true;
    await this.renewNow();
    return false;
  }

  /** Extends the driver's lease. @throws SearchJournalLost */
  async renewNow(): Promise<void> {
    if (this.#token === null) return;
    const { tenantId, id } = this.#key;
    const values = [tenantId, id, this.#token, leaseMs];
    const held = await this.#ports.sql.asTenant(tenantId, (transaction) => transaction.query(renewText, values));
    if (held.length === 0) throw new SearchJournalLost('another driver has taken the search up');
    this.#renewAt = this.#ports.clock.elapsed() + renewMs;
  }

  async #renew(): Promise<void> {
    if (this.#token !== null && this.#ports.clock.elapsed() >= this.#renewAt) await this.renewNow();
  }

  async #entries(after: number): Promise<string[] | null> {
    const { tenantId, id } = this.#key;
    return this.#ports.sql.asTenant(tenantId, async (transaction) => {
      const rows = await transaction.query<{ entry: string }>(readText, [tenantId, id, after]);
      if (rows.length > 0) return rows.map(({ entry }) => entry);
      return (await transaction.query(existsText, [tenantId, id])).length === 0 ? null : [];
    });
  }
}

/** Makes the port out of the database. */
export function createSqlSearches(ports: SqlSearchPorts): Searches {
  const { sql, clock, log } = ports;
  let driver: SearchDriver | null = null;
  const driven = new Set<string>();
  const looked = new Map<string, number>();

  /** Drives a search unless somebody does; the lease goes back at the end, whatever that is. */
  async function drive(key: SearchKey, background: Background): Promise<void> {
    const { tenantId, id } = key;
    if (driver === null || driven.has(id)) return;
    driven.add(id);
    try {
      const [taken] = await sql.asTenant(tenantId, (transaction) =>
        transaction.query<{ token: string }>(takeText, [tenantId, id, leaseMs]),
      );
      if (taken === undefined) return;
      const journal = new SqlJournal(ports, key, taken.token);
      await driver(key, journal, background, new AbortController().signal);
      await sql.asTenant(tenantId, (transaction) => transaction.query(releaseText, [tenantId, id, taken.token]));
    } catch (thrown) {
      // The driver has said why; the lease runs out, and a later request takes the search up.
      if (!(thrown instanceof SearchJournalLost)) log.write('warn', 'a driver ended early', { search: id });
    } finally {
      driven.delete(id);
    }
  }

  async function takeUpNow(tenantId: string, background: Background): Promise<void> {
    try {
      const orphans = await sql.asTenant(tenantId, (transaction) =>
        transaction.query<{ id: string }>(orphansText, [tenantId]),
      );
      await Promise.all(orphans.map(({ id }) => drive({ tenantId, id }, background)));
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log.write('warn', 'searches could not be taken up', { reason });
    }
  }

  return {
    async create({ tenantId, id }, entries, isRunning) {
      await sql.asTenant(tenantId, async (transaction) => {
        await transaction.query(removeOldText, [tenantId]);
        await transaction.query(createText, [tenantId, id, entries.length, isRunning, JSON.stringify(entries)]);
      });
    },
    journal: (key) => new SqlJournal(ports, key, null),
    async wake(key, background) {
      background.run(drive(key, background));
    },
    takeUp(tenantId, background) {
      const now = clock.elapsed();
      if (now < (looked.get(tenantId) ?? 0)) return;
      if (looked.size >= tenantsMax) looked.clear();
      looked.set(tenantId, now + takeUpPauseMs);
      background.run(takeUpNow(tenantId, background));
    },
    drivenBy(drive) {
      driver = drive;
    },
  };
}
