/**
 * Events on their way to the database: decisions that were answered from memory, and rewards that a chat call measured.
 * They wait in a bounded queue, leave in batches, and wait on while the database is away. Where the queue is full no
 * more decisions are taken: none is ever dropped in silence.
 */
import { ApiError } from '../errors.ts';
import { type Clock, type Log, SqlError } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type ExperimentStore, eventsPerStatementMax, type StoredEvent } from './store.ts';

/** Events that wait for the database in one isolate. */
export const queueLengthMax = 10_000;
/** Pause after a failed write, in milliseconds, so that a database that is away is not asked by every request. */
export const queuePauseMs = 2_000;
/** Longest time that one writer may hold the queue, in milliseconds: a host may end a writer without a word. */
const writeMs = 30_000;

interface QueuePorts {
  readonly store: ExperimentStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Collects events and writes them; one an isolate. */
export class EventQueue {
  readonly #ports: QueuePorts;
  #waiting: StoredEvent[] = [];
  #pausedUntil = 0;
  #writingUntil = 0;

  constructor(ports: QueuePorts) {
    this.#ports = ports;
  }

  /** Refuses work whose events would find no room. @throws ApiError database_unavailable */
  checkRoom(): void {
    if (this.#waiting.length < queueLengthMax) return;
    throw new ApiError('database_unavailable', `${queueLengthMax} decisions wait for the database; no more are taken.`);
  }

  add(event: StoredEvent): void {
    this.#waiting.push(event);
  }

  /** When the decision was made whose event waits here; null where none does. */
  decidedAtMs(decisionId: string): number | null {
    const waits = ({ decisionId: id, event }: StoredEvent) => id === decisionId && 'decide' in event;
    return this.#waiting.find(waits)?.atMs ?? null;
  }

  /** The events of one experiment that are not stored yet. */
  waitingOf(tenantId: string, experimentId: string): readonly StoredEvent[] {
    return this.#waiting.filter((event) => event.experimentId === experimentId && event.tenantId === tenantId);
  }

  /** Writes what waits, one tenant at a time. Never throws: what cannot be written waits on. */
  async flush(): Promise<void> {
    const { clock, log, metrics } = this.#ports;
    if (this.#waiting.length === 0 || clock.now() < Math.max(this.#pausedUntil, this.#writingUntil)) return;
    this.#writingUntil = clock.now() + writeMs;
    try {
      while (this.#waiting.length > 0) await this.#writeBatch();
    } catch (thrown) {
      this.#pausedUntil = clock.now() + queuePauseMs;
      metrics.experimentEvents.inc({ result: 'retried' });
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log.write('warn', 'experiment events wait: the database did not take them', {
        waiting: this.#waiting.length,
        reason,
      });
    } finally {
      this.#writingUntil = 0;
    }
  }

  async #writeBatch(): Promise<void> {
    const { store, metrics, log } = this.#ports;
    const tenantId = this.#waiting[0]?.tenantId ?? '';
    const batch = this.#waiting.filter((event) => event.tenantId === tenantId).slice(0, eventsPerStatementMax);
    const refusal = await store.add(tenantId, batch).then(() => null, refusalOf);
    const done = new Set(batch);
    this.#waiting = this.#waiting.filter((event) => !done.has(event));
    metrics.experimentEvents.inc({ result: refusal === null ? 'stored' : 'dropped' }, batch.length);
    if (refusal === null) return;
    log.write('error', 'experiment events dropped: the database refused them', { count: batch.length, refusal });
  }
}

/** The SQLSTATE of a batch that would be refused again (a tenant that is gone); any other error goes on. */
function refusalOf(thrown: unknown): string {
  if (thrown instanceof SqlError) return thrown.code;
  throw thrown;
}
