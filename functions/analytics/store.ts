/**
 * Experiments and their events in Postgres, as the tenant, under row level security. Events are only ever added, and one
 * about the same subject is stored once, so that whoever is not sure whether a write arrived writes it again.
 */
import type { Sql, SqlTransaction } from '../ports.ts';
import type { CoreEvent } from './analytics-module.ts';
import type { Definition } from './definition.ts';

/** Events that one statement reads or writes at most. A transaction never writes more, so that readers make progress. */
export const eventsPerStatementMax = 500;
/** Events that one page of a reading holds. */
const pageLength = 2_000;
/** Pages of one reading; what is behind them is read by the next. */
const pagesMax = 50;
/** Experiments that are listed at most. */
export const listLengthMax = 1_000;

/** An experiment as it is listed. */
export interface ListedExperiment {
  readonly tenantId: string;
  /** 12 hexadecimal digits, with which the ids of its decisions begin. */
  readonly id: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly endedAtMs: number | null;
}

/** An experiment as it is stored, without its state. */
export interface StoredExperiment extends ListedExperiment {
  readonly definition: Definition;
}

/** An event to store. */
export interface StoredEvent {
  readonly tenantId: string;
  readonly experimentId: string;
  /** What it is about; a second event about the same is not stored. */
  readonly subject: string;
  readonly decisionId: string | null;
  readonly atMs: number;
  readonly event: CoreEvent;
}

/** What was read of an experiment's events. */
export interface EventPage {
  readonly events: readonly CoreEvent[];
  /** Where the next reading begins. */
  readonly watermark: string;
  /** False where there was more than one reading takes. */
  readonly isComplete: boolean;
  readonly endedAtMs: number | null;
}

/** A decision with the rewards that came within its window. */
export interface LoggedDecision {
  readonly namespace: string;
  readonly arm: string;
  readonly propensity: number;
  readonly rewards: Readonly<Record<string, number>>;
}

interface ListedRow extends Record<string, unknown> {
  id: string;
  name: string;
  created_ms: string;
  ended_ms: string | null;
}

type ExperimentRow = ListedRow & { definition: Definition };

const listedColumns = `id, name, floor(extract(epoch from created_at) * 1000)::bigint::text as created_ms,
  floor(extract(epoch from ended_at) * 1000)::bigint::text as ended_ms`;

const toListed = (tenantId: string, row: ListedRow): ListedExperiment => ({
  tenantId,
  id: row.id,
  name: row.name,
  createdAtMs: Number(row.created_ms),
  endedAtMs: row.ended_ms === null ? null : Number(row.ended_ms),
});

const insertEventsText = `insert into treeline.experiment_events
    (tenant_id, experiment_id, subject, decision_id, at_ms, event)
  select $1::uuid, e.experiment_id, e.subject, e.decision_id, e.at_ms, e.event
  from jsonb_to_recordset($2::jsonb)
    as e(experiment_id text, subject text, decision_id text, at_ms bigint, event jsonb)
  on conflict do nothing
  returning subject`;

/** Stores `events` of one tenant and gives the subjects that are new. */
async function insertEvents(
  transaction: SqlTransaction,
  tenantId: string,
  events: readonly StoredEvent[],
): Promise<Set<string>> {
  const rows = events.map(({ experimentId, subject, decisionId, atMs, event }) => ({
    ...{ experiment_id: experimentId, subject, decision_id: decisionId, at_ms: atMs, event },
  }));
  const stored = await transaction.query<{ subject: string }>(insertEventsText, [tenantId, JSON.stringify(rows)]);
  return new Set(stored.map(({ subject }) => subject));
}

/** The one way to the tables of experiments. */
export class ExperimentStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Makes an experiment with its first events; false where the name, or by rare chance the id, is taken. */
  create(experiment: StoredExperiment, events: readonly StoredEvent[]): Promise<boolean> {
    const { tenantId, id, name, definition } = experiment;
    return this.#sql.asTenant(tenantId, async (transaction) => {
      const text = `insert into treeline.experiments (tenant_id, id, name, definition) values ($1, $2, $3, $4::jsonb)
        on conflict do nothing returning id`;
      const made = await transaction.query(text, [tenantId, id, name, JSON.stringify(definition)]);
      if (made.length === 0) return false;
      if (events.length > 0) await insertEvents(transaction, tenantId, events);
      return true;
    });
  }

  /** The tenant's experiments, newest first. */
  list(tenantId: string): Promise<ListedExperiment[]> {
    const text = `select ${listedColumns} from treeline.experiments order by created_at desc, id limit $1`;
    return this.#sql.asTenant(tenantId, async (transaction) => {
      const rows = await transaction.query<ListedRow>(text, [listLengthMax]);
      return rows.map((row) => toListed(tenantId, row));
    });
  }

  /** How many experiments the tenant has. */
  async count(tenantId: string): Promise<number> {
    const [row] = await this.#sql.asTenant(tenantId, (transaction) =>
      transaction.query<{ count: number }>('select count(*)::int as count from treeline.experiments'),
    );
    return row?.count ?? 0;
  }

  /** An experiment by its name or id, with its last snapshot; null where the tenant has none such. */
  load(
    tenantId: string,
    by: { readonly name: string } | { readonly id: string },
  ): Promise<{ experiment: StoredExperiment; snapshot: string | null; watermark: string } | null> {
    const [column, value] = 'name' in by ? ['name', by.name] : ['id', by.id];
    const text = `select ${listedColumns}, definition, encode(snapshot, 'base64') as snapshot,
      snapshot_watermark::text as watermark from treeline.experiments where ${column} = $1`;
    return this.#sql.asTenant(tenantId, async (transaction) => {
      const rows = await transaction.query<ExperimentRow & { snapshot: string | null; watermark: string }>(text, [
        value,
      ]);
      const [row] = rows;
      if (row === undefined) return null;
      const experiment = { ...toListed(tenantId, row), definition: row.definition };
      return { experiment, snapshot: row.snapshot, watermark: row.watermark };
    });
  }

  /** Ends an experiment; one that has ended stays as it is. */
  async end(tenantId: string, id: string): Promise<void> {
    const text = 'update treeline.experiments set ended_at = now() where id = $1 and ended_at is null';
    await this.#sql.asTenant(tenantId, (transaction) => transaction.query(text, [id]));
  }

  /** Stores events of one tenant, at most `eventsPerStatementMax`, and gives the subjects that are new. */
  add(tenantId: string, events: readonly StoredEvent[]): Promise<Set<string>> {
    return this.#sql.asTenant(tenantId, (transaction) => insertEvents(transaction, tenantId, events));
  }

  /** The same for rewards of one decision, with the time of that decision; null where it is not stored (yet). */
  addRewards(
    tenantId: string,
    decisionId: string,
    events: readonly StoredEvent[],
  ): Promise<{ stored: Set<string>; decidedAtMs: number | null }> {
    return this.#sql.asTenant(tenantId, async (transaction) => {
      const stored = await insertEvents(transaction, tenantId, events);
      const text = `select at_ms::text as at_ms from treeline.experiment_events
        where experiment_id = $1 and subject = $2`;
      const rows = await transaction.query<{ at_ms: string }>(text, [
        decisionId.slice(0, 12),
        decisionSubject(decisionId),
      ]);
      const [decision] = rows;
      return { stored, decidedAtMs: decision === undefined ? null : Number(decision.at_ms) };
    });
  }

  /**
   * Events from `watermark` on. Some may have been read before, none is left out: the new watermark is the oldest
   * transaction that runs while we read, and whatever is stored later belongs to that or to a later one.
   */
  read(tenantId: string, id: string, watermark: string): Promise<EventPage> {
    return this.#sql.asTenant(tenantId, async (transaction) => {
      const [state] = await transaction.query<{ watermark: string; behind: boolean; ended_ms: string | null }>(
        `select pg_snapshot_xmin(pg_current_snapshot())::text as watermark,
          pg_snapshot_xmin(pg_current_snapshot()) < $2::xid8 as behind,
          floor(extract(epoch from ended_at) * 1000)::bigint::text as ended_ms
        from treeline.experiments where id = $1`,
        [id, watermark],
      );
      // A database that was moved to another server counts its transactions anew; telling an event twice is harmless.
      const from = state?.behind === true ? '0' : watermark;
      const { events, last } = await readPages(transaction, id, from);
      const endedAtMs = state?.ended_ms == null ? null : Number(state.ended_ms);
      return { events, watermark: last ?? state?.watermark ?? watermark, isComplete: last === null, endedAtMs };
    });
  }

  /** Keeps the state at `watermark`, unless a later one is there. */
  async keepSnapshot(tenantId: string, id: string, snapshot: string, watermark: string): Promise<void> {
    const text = `update treeline.experiments set snapshot = decode($2, 'base64'), snapshot_watermark = $3::xid8
      where id = $1 and snapshot_watermark < $3::xid8`;
    await this.#sql.asTenant(tenantId, (transaction) => transaction.query(text, [id, snapshot, watermark]));
  }

  /** The newest decisions made before `beforeMs`, at most `limit`, with the rewards of their window. */
  decisions(experiment: StoredExperiment, beforeMs: number, limit: number): Promise<LoggedDecision[]> {
    const text = `with decision as (
        select decision_id, at_ms, event -> 'decide' as decide from treeline.experiment_events
        where experiment_id = $1 and subject like 'decision:%' and at_ms < $2
        order by at_ms desc limit $3
      )
      select decide ->> 'namespace' as namespace, decide ->> 'arm' as arm,
        (decide ->> 'propensity')::float8 as propensity, coalesce(came.rewards, '{}') as rewards
      from decision left join lateral (
        select jsonb_object_agg(one.key, one.value) as rewards
        from treeline.experiment_events as told, jsonb_each(told.event -> 'feedback' -> 'rewards') as one
        where told.experiment_id = $1 and told.decision_id = decision.decision_id
          and told.at_ms <= decision.at_ms + $4
      ) as came on true`;
    const parameters = [experiment.id, beforeMs, limit, experiment.definition.window_ms];
    return this.#sql.asTenant(experiment.tenantId, (transaction) =>
      transaction.query<LoggedDecision & Record<string, unknown>>(text, parameters),
    );
  }
}

/** The subject of a decision's event. */
export const decisionSubject = (decisionId: string): string => `decision:${decisionId}`;

/** Reads page by page, in the order of transactions. `last` is where to go on when not all was read. */
async function readPages(
  transaction: SqlTransaction,
  id: string,
  watermark: string,
): Promise<{ events: CoreEvent[]; last: string | null }> {
  const text = `select event, subject, transaction_id::text as at from treeline.experiment_events
    where experiment_id = $1 and (transaction_id, subject) > ($2::xid8, $3)
    order by transaction_id, subject limit $4`;
  const events: CoreEvent[] = [];
  let [at, subject] = [watermark, ''];
  for (let page = 0; page < pagesMax; page += 1) {
    const rows = await transaction.query<{ event: CoreEvent; subject: string; at: string }>(text, [
      ...[id, at, subject, pageLength],
    ]);
    for (const row of rows) events.push(row.event);
    const end = rows.at(-1);
    if (end === undefined || rows.length < pageLength) return { events, last: null };
    [at, subject] = [end.at, end.subject];
  }
  return { events, last: at };
}
