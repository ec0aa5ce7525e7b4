/**
 * What tenants used, written after the answer. Events wait in a bounded queue, leave in batches, and wait on when the
 * database is away; an event that finds the queue full is counted and logged, never dropped in silence.
 */
import { uuid } from '../identifiers.ts';
import { type Clock, type Log, type Random, type Sql, SqlError } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Caller } from './caller.ts';

/** Events that wait for the database in one isolate. */
export const usageQueueMax = 10_000;
/** Events written by one statement. */
export const usageBatchMax = 500;
/** Pause after a failed write, in milliseconds, so that a database that is away is not asked by every request. */
export const usagePauseMs = 5_000;

/** Longest time that one writer may hold the queue, in milliseconds. */
export const usageWriteMs = 30_000;

/** One use of the product. Token counts are of the model's own tokenizer. */
export interface UsageEvent {
  readonly operation: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheHit: boolean;
  readonly latencyMs: number;
}

interface Waiting extends UsageEvent {
  readonly id: string;
  readonly tenantId: string;
  readonly keyId: string | null;
  readonly at: string;
}

// The id is made here, so that a batch whose acknowledgement was lost can be sent again without counting twice.
const insertText = `insert into treeline.usage
    (tenant_id, id, key_id, operation, model, input_tokens, output_tokens, cache_hit, latency_ms, recorded_at)
  select $1::uuid, e.id, e.key_id, e.operation, e.model, e.input_tokens, e.output_tokens, e.cache_hit, e.latency_ms,
    e.recorded_at
  from jsonb_to_recordset($2::jsonb) as e(id uuid, key_id uuid, operation text, model text, input_tokens integer,
    output_tokens integer, cache_hit boolean, latency_ms double precision, recorded_at timestamptz)
  on conflict do nothing`;

const toRow = (event: Waiting) => ({
  id: event.id,
  key_id: event.keyId,
  operation: event.operation,
  model: event.model,
  input_tokens: event.inputTokens,
  output_tokens: event.outputTokens,
  cache_hit: event.cacheHit,
  latency_ms: event.latencyMs,
  recorded_at: event.at,
});

interface UsagePorts {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Collects usage and writes it. One an isolate. */
export class UsageLedger {
  readonly #ports: UsagePorts;
  #waiting: Waiting[] = [];
  #pausedUntil = 0;
  /** Until when a writer holds the queue. Bounded, since a host may end a writer without a word. */
  #writingUntil = 0;

  constructor(ports: UsagePorts) {
    this.#ports = ports;
  }

  /**
   * Adds `event` to the queue; `flush` writes it. Events of one `id` (a UUID) are written once, however often they are
   * recorded.
   */
  record(caller: Caller, event: UsageEvent, id?: string): void {
    const { metrics, log, clock, random } = this.#ports;
    if (this.#waiting.length >= usageQueueMax) {
      metrics.usageEvents.inc({ result: 'dropped' });
      log.write('error', 'usage event dropped: the queue is full', { operation: event.operation });
      return;
    }
    this.#waiting.push({ ...event, ...caller, id: id ?? uuid(random), at: new Date(clock.now()).toISOString() });
  }

  /** Events that wait. */
  get backlog(): number {
    return this.#waiting.length;
  }

  /** Writes what waits, one tenant at a time. Never throws: what cannot be written waits on. */
  async flush(): Promise<void> {
    const { clock, log, metrics } = this.#ports;
    if (this.#waiting.length === 0 || clock.now() < Math.max(this.#pausedUntil, this.#writingUntil)) return;
    this.#writingUntil = clock.now() + usageWriteMs;
    try {
      while (this.#waiting.length > 0) await this.#writeBatch();
    } catch (thrown) {
      this.#pausedUntil = clock.now() + usagePauseMs;
      metrics.usageEvents.inc({ result: 'retried' });
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log.write('warn', 'usage waits: the database did not take it', { waiting: this.#waiting.length, reason });
    } finally {
      this.#writingUntil = 0;
    }
  }

  async #writeBatch(): Promise<void> {
    const { sql, metrics, log } = this.#ports;
    const tenantId = this.#waiting[0]?.tenantId ?? '';
    const batch = this.#waiting.filter((event) => event.tenantId === tenantId).slice(0, usageBatchMax);
    const rows = JSON.stringify(batch.map(toRow));
    const refusal = await sql
      .asTenant(tenantId, (transaction) => transaction.query(insertText, [tenantId, rows]))
      .then(() => null, refusalOf);
    const done = new Set(batch);
    this.#waiting = this.#waiting.filter((event) => !done.has(event));
    metrics.usageEvents.inc({ result: refusal === null ? 'stored' : 'dropped' }, batch.length);
    if (refusal !== null)
      log.write('error', 'usage dropped: the database refused it', { count: batch.length, refusal });
  }
}

/** The SQLSTATE of a batch that would be refused again (a tenant that is gone); any other error goes on. */
function refusalOf(thrown: unknown): string {
  if (thrown instanceof SqlError) return thrown.code;
  throw thrown;
}
