/**
 * The replicas of the one OpenAI-compatible upstream, and the choice among them: power of two choices by load, computed
 * by the TinyGo router, with failed replicas left alone for a while.
 */
import type { Router } from '../../wasm-go/routing.ts';
import { ApiError } from '../errors.ts';
import type { Clock, Random } from '../ports.ts';
import type { LiveInstance } from '../wasm/instance.ts';

/** How long an upstream may take to send the head of its answer, in milliseconds. */
export const headTimeoutMs = 120_000;

/** One replica, and the bookkeeping of a call to it. */
export interface ChosenUpstream {
  readonly baseUrl: string;
  /** Tells the router how the call went, once the head of the answer (or none) has come. */
  readonly end: (succeeded: boolean, latencyMs: number) => void;
}

interface UpstreamPorts {
  readonly clock: Clock;
  readonly random: Random;
  /** The router. A fresh one (after a trap) knows no upstreams, and has another generation. */
  readonly router: () => Promise<LiveInstance<Router>>;
}

/** Chooses replicas; one an isolate. */
export class Upstreams {
  readonly #baseUrls: readonly string[];
  readonly #ports: UpstreamPorts;
  #generation = -1;

  constructor(baseUrls: readonly string[], ports: UpstreamPorts) {
    this.#baseUrls = baseUrls;
    this.#ports = ports;
  }

  /** The replica for the next call. @throws ApiError upstream_not_configured, upstream_failed where all are ejected */
  async choose(): Promise<ChosenUpstream> {
    if (this.#baseUrls.length === 0) {
      throw new ApiError(
        'upstream_not_configured',
        'No chat upstream is configured: set UPSTREAM_BASE_URL to an OpenAI-compatible address that ends in /v1.',
      );
    }
    const { clock, random } = this.#ports;
    const live = await this.#ports.router();
    const now = clock.now();
    const index = live.run((router, generation) => {
      if (generation !== this.#generation) router.setUpstreams(this.#baseUrls.map(() => ({ weight: 1 })));
      this.#generation = generation;
      const chosen = router.choose(now, random.fraction(), random.fraction());
      if (chosen >= 0) router.begin(chosen, now);
      return chosen;
    });
    const baseUrl = this.#baseUrls[index];
    if (baseUrl === undefined) throw new ApiError('upstream_failed', 'Every replica of the upstream failed just now.');
    const generation = this.#generation;
    return { baseUrl, end: (succeeded, latencyMs) => this.#end(live, generation, index, succeeded, latencyMs) };
  }

  /** A router that was replaced meanwhile knows nothing of the call, so there is nothing to end. */
  #end(live: LiveInstance<Router>, generation: number, index: number, succeeded: boolean, latencyMs: number): void {
    live.run((router, current) => {
      if (current === generation) router.end(index, this.#ports.clock.now(), latencyMs, succeeded);
    });
  }
}
