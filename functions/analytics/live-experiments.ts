/**
 * Experiments in the isolate's memory, so that a decision needs no network. Each is its last snapshot, the events stored
 * since, and those of this isolate that are not stored yet; the order in which the core hears of them does not matter,
 * so isolates agree as soon as they have read each other's events, which they do in the background.
 */
import type { Clock, Log } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { LiveInstance } from '../wasm/instance.ts';
import { type AnalyticsModule, AnalyticsRefused, type CoreEvent, type ExperimentCore } from './analytics-module.ts';
import { toCoreDefinition } from './definition.ts';
import type { EventQueue } from './event-queue.ts';
import type { ExperimentStore, StoredExperiment } from './store.ts';

/** Experiments that one isolate holds; the one that was used longest ago makes room, and is read again when needed. */
export const heldMax = 64;
/** How old an isolate's knowledge of the others' events may be before a decision has it renewed, in milliseconds. */
export const renewAfterMs = 2_000;
/** Longest time that one renewal may take before another may begin, in milliseconds. */
const renewalMs = 30_000;
/** New events after which the state is stored, so that the next isolate need not read them all. */
export const eventsPerSnapshot = 1_000;
/** Readings of the log at the first use; 100,000 events each. */
const readingsMax = 20;

/** An experiment in memory. */
export interface LiveExperiment {
  stored: StoredExperiment;
  readonly core: ExperimentCore;
  /** The module's instance in whose memory the core lies. */
  readonly generation: number;
  watermark: string;
  renewedAtMs: number;
  renewingUntilMs: number;
  /** Events since the last snapshot. */
  unsaved: number;
}

interface LivePorts {
  readonly store: ExperimentStore;
  readonly queue: EventQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly module: () => Promise<LiveInstance<AnalyticsModule>>;
}

type By = { readonly name: string } | { readonly id: string };

/** Holds the experiments of one isolate. */
export class LiveExperiments {
  readonly #ports: LivePorts;
  /** By tenant and id, the one used last at the end. */
  readonly #held = new Map<string, LiveExperiment>();
  /** Ids by tenant and name; a name stands for the same experiment for ever. */
  readonly #ids = new Map<string, string>();

  constructor(ports: LivePorts) {
    this.#ports = ports;
  }

  /** The experiment, from memory where it is held; null where the tenant has none such. */
  async get(tenantId: string, by: By): Promise<LiveExperiment | null> {
    const module = await this.#ports.module();
    return this.#find(tenantId, by, module.generation) ?? this.#load(tenantId, by, module);
  }

  /** Calls `work` with the core. A trap costs this call; the experiment is read again at the next. */
  async use<Result>(live: LiveExperiment, work: (core: ExperimentCore) => Result): Promise<Result> {
    const module = await this.#ports.module();
    return module.run((_, generation) => {
      if (generation !== live.generation) throw new Error('the analytics module was replaced during a call');
      return work(live.core);
    });
  }

  /** Applies events; those that the core refuses are counted and logged. */
  async apply(live: LiveExperiment, events: readonly CoreEvent[]): Promise<void> {
    await this.use(live, (core) => this.#applyTo(core, live, events));
  }

  /** Reads what other isolates have stored, and stores the state where much is new. Throws what the database throws. */
  async renew(live: LiveExperiment): Promise<void> {
    const { store, clock } = this.#ports;
    live.renewingUntilMs = clock.now() + renewalMs;
    try {
      const startedAtMs = clock.now();
      const { tenantId, id } = live.stored;
      const page = await store.read(tenantId, id, live.watermark);
      await this.apply(live, page.events);
      live.watermark = page.watermark;
      live.renewedAtMs = startedAtMs;
      live.stored = { ...live.stored, endedAtMs: page.endedAtMs };
      await this.#keepSnapshot(live);
    } finally {
      live.renewingUntilMs = 0;
    }
  }

  /** Writes what waits, and renews what is old. For the background: never throws. */
  async tend(live: LiveExperiment): Promise<void> {
    const { queue, clock, log } = this.#ports;
    await queue.flush();
    if (clock.now() - live.renewedAtMs < renewAfterMs || clock.now() < live.renewingUntilMs) return;
    await this.renew(live).catch((thrown: unknown) => {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log.write('warn', 'an experiment was not renewed', { experiment: live.stored.name, reason });
    });
  }

  #find(tenantId: string, by: By, generation: number): LiveExperiment | null {
    const id = 'id' in by ? by.id : this.#ids.get(`${tenantId}/${by.name}`);
    const key = `${tenantId}/${id}`;
    const live = this.#held.get(key);
    if (live === undefined) return null;
    this.#held.delete(key);
    // A core of an instance that has trapped is gone with its memory.
    if (live.generation !== generation) return null;
    this.#held.set(key, live);
    return live;
  }

  async #load(tenantId: string, by: By, module: LiveInstance<AnalyticsModule>): Promise<LiveExperiment | null> {
    const { store, clock, queue } = this.#ports;
    const found = await store.load(tenantId, by);
    if (found === null) return null;
    const live = module.run((analytics, generation): LiveExperiment => {
      const { core, watermark } = this.#begin(analytics, found);
      const stored = found.experiment;
      return { stored, core, generation, watermark, renewedAtMs: clock.now(), renewingUntilMs: 0, unsaved: 0 };
    });
    for (let reading = 0; reading < readingsMax; reading += 1) {
      const page = await store.read(tenantId, live.stored.id, live.watermark);
      await this.apply(live, page.events);
      live.watermark = page.watermark;
      if (page.isComplete) break;
    }
    // Another request may have read the same meanwhile. Whoever comes second takes that one.
    const earlier = this.#find(tenantId, { id: live.stored.id }, live.generation);
    if (earlier !== null) {
      module.run((_, generation) => generation === live.generation && live.core.free());
      return earlier;
    }
    const waiting = queue.waitingOf(tenantId, live.stored.id).map(({ event }) => event);
    await this.apply(live, waiting);
    this.#hold(live, module);
    return live;
  }

  #begin(analytics: AnalyticsModule, found: NonNullable<Awaited<ReturnType<ExperimentStore['load']>>>) {
    const { snapshot, watermark, experiment } = found;
    if (snapshot !== null) {
      try {
        return { core: analytics.fromSnapshot(fromBase64(snapshot)), watermark };
      } catch (thrown) {
        if (!(thrown instanceof AnalyticsRefused)) throw thrown;
        // Nothing is lost: the events are all there.
        const fields = { experiment: experiment.name, reason: thrown.message };
        this.#ports.log.write('warn', 'a snapshot of an experiment was refused, its events are read instead', fields);
      }
    }
    return { core: analytics.begin(toCoreDefinition(experiment.definition)), watermark: '0' };
  }

  #hold(live: LiveExperiment, module: LiveInstance<AnalyticsModule>): void {
    const { tenantId, id, name } = live.stored;
    this.#held.set(`${tenantId}/${id}`, live);
    this.#ids.set(`${tenantId}/${name}`, id);
    if (this.#held.size <= heldMax) return;
    const [oldest] = this.#held;
    if (oldest === undefined) return;
    const [key, { core, generation, stored }] = oldest;
    this.#held.delete(key);
    this.#ids.delete(`${stored.tenantId}/${stored.name}`);
    module.run((_, current) => current === generation && core.free());
  }

  #applyTo(core: ExperimentCore, live: LiveExperiment, events: readonly CoreEvent[]): void {
    for (const event of events) {
      const result = this.#tell(core, event);
      if (result === 'recorded') live.unsaved += 1;
      if (result === 'too_old' || result === 'refused') this.#ports.metrics.experimentEvents.inc({ result });
    }
  }

  #tell(core: ExperimentCore, event: CoreEvent): ReturnType<ExperimentCore['apply']> | 'refused' {
    try {
      return core.apply(event);
    } catch (thrown) {
      if (!(thrown instanceof AnalyticsRefused)) throw thrown;
      this.#ports.log.write('error', 'an experiment refused a stored event', { reason: thrown.message });
      return 'refused';
    }
  }

  /** Stores the state, when nothing in it is unknown to the database: what crashes with us must not be in it. */
  async #keepSnapshot(live: LiveExperiment): Promise<void> {
    const { store, queue } = this.#ports;
    const { tenantId, id } = live.stored;
    if (live.unsaved < eventsPerSnapshot) return;
    const { watermark } = live;
    const bytes = await this.use(live, (core) => (queue.waitingOf(tenantId, id).length > 0 ? null : core.snapshot()));
    if (bytes === null) return;
    await store.keepSnapshot(tenantId, id, toBase64(bytes), watermark);
    live.unsaved = 0;
  }
}

/** Bytes that are turned into one string at a time; a call's arguments are limited. */
const chunkLength = 0x8000;

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += chunkLength) {
    text += String.fromCharCode(...bytes.subarray(at, at + chunkLength));
  }
  return btoa(text);
}

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
