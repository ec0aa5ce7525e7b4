/** The pool, put together from an isolate's ports. */
import type { Router } from '../../../wasm-go/routing.ts';
import { callOptions, createPoolClient } from '../../pool-client/client.ts';
import { pause } from '../../pool-client/pause.ts';
import type { Clock, Log, Random } from '../../ports.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { LiveInstance } from '../../wasm/instance.ts';
import { NodeChoice } from './choice.ts';
import { PoolDirectory, readTimeoutMs } from './directory.ts';
import { usableNodes } from './nodes.ts';
import { Pool } from './pool.ts';

interface PoolSources {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly fetch: typeof globalThis.fetch;
  /** A router of the pool's own. */
  readonly router: () => Promise<LiveInstance<Router>>;
}

/** The pool whose nodes the addresses `directoryUrls` know. */
export function createPool(directoryUrls: readonly string[], sources: PoolSources): Pool {
  const { clock, random, log, metrics, fetch, router } = sources;
  const client = (address: string) => createPoolClient(address, { fetch, clock, random, pause });
  const list = async (seed: string) => {
    const { nodes } = await client(seed).node.listNodes({}, callOptions({ timeoutMs: readTimeoutMs, attemptsMax: 1 }));
    return usableNodes(nodes, seed);
  };
  const directory = new PoolDirectory(directoryUrls, { clock, log, metrics, list });
  return new Pool({ directory, choice: new NodeChoice({ clock, random, router }), clock, metrics, client });
}
