/**
 * Which nodes the pool has now, read from any of the configured addresses (each a node, or a directory's door). What was
 * read is used at once while it is fresh, and while a fresh one is fetched in the background; it is believed for a bounded
 * time where nobody can be asked. So the pool's directory may be away for a minute, and no call waits for it.
 */
import type { Background, Clock, Log } from '../../ports.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { PoolNode } from './nodes.ts';

/** Age up to which what was read is used without asking again, in milliseconds. */
export const freshMs = 3_000;
/** Age up to which it is used where nobody can be asked, in milliseconds. */
export const staleMsMax = 60_000;
/** Pause after all addresses have failed, in milliseconds: calls do not wait for a pool that is away. */
export const refusedMs = 2_000;
/** Time that one address has for its answer, in milliseconds. */
export const readTimeoutMs = 2_000;
/** Addresses asked in one reading, at most. */
export const readsMax = 4;

interface DirectoryPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Asks the node at `seed` for all nodes, within `readTimeoutMs`. */
  readonly list: (seed: string) => Promise<PoolNode[]>;
}

interface Reading {
  readonly nodes: readonly PoolNode[];
  readonly at: number;
}

/** The pool's nodes. One an isolate. */
export class PoolDirectory {
  readonly #seeds: readonly string[];
  readonly #ports: DirectoryPorts;
  #reading: Reading | null = null;
  #refusedUntil = 0;
  /** Until when somebody reads in the background. Bounded, since a host may end the reader without a word. */
  #readingUntil = 0;

  constructor(seeds: readonly string[], ports: DirectoryPorts) {
    this.#seeds = seeds;
    this.#ports = ports;
  }

  /** The nodes that take calls; none where no pool is configured, or nobody could be asked for too long. */
  async nodes(background: Background): Promise<readonly PoolNode[]> {
    if (this.#seeds.length === 0) return [];
    const now = this.#ports.clock.now();
    const age = this.#reading === null ? Number.POSITIVE_INFINITY : now - this.#reading.at;
    if (age < freshMs) return this.#known();
    if (now < this.#refusedUntil) return age < staleMsMax ? this.#known() : [];
    if (age >= staleMsMax) {
      // Each cold request reads for itself: on some hosts one request cannot wait for another's I/O.
      await this.#read();
      return this.#reading === null || this.#ports.clock.now() - this.#reading.at >= staleMsMax ? [] : this.#known();
    }
    if (now >= this.#readingUntil) {
      this.#readingUntil = now + readTimeoutMs * readsMax;
      background.run(this.#read());
    }
    return this.#known();
  }

  #known(): readonly PoolNode[] {
    return this.#reading?.nodes ?? [];
  }

  /** Asks one address after the other, the configured ones first, then nodes that are known. Never throws. */
  async #read(): Promise<void> {
    const { clock, log, metrics, list } = this.#ports;
    const asked = new Set([...this.#seeds, ...this.#known().map(({ address }) => address)]);
    for (const seed of [...asked].slice(0, readsMax)) {
      try {
        const nodes = await list(seed);
        this.#reading = { nodes, at: clock.now() };
        this.#readingUntil = 0;
        this.#refusedUntil = 0;
        metrics.poolDirectoryReads.inc({ result: 'ok' });
        metrics.poolNodes.set(nodes.length);
        return;
      } catch (thrown) {
        metrics.poolDirectoryReads.inc({ result: 'failed' });
        const reason = thrown instanceof Error ? thrown.message : String(thrown);
        log.write('warn', 'an address of the pool could not be read', { host: new URL(seed).host, reason });
      }
    }
    this.#readingUntil = 0;
    this.#refusedUntil = clock.now() + refusedMs;
  }
}
