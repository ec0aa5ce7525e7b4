/**
 * The inference pool as the gateway sees it: which models it has, and calls to whichever node is the right one. A call
 * that fails before its answer has begun goes to another node; one that has begun does not, since the client has seen it.
 */
import { type CallOptions, Code, ConnectError } from '@connectrpc/connect';
import { ApiError } from '../../errors.ts';
import { callOptions, type PoolClient } from '../../pool-client/client.ts';
import { poolFailure } from '../../pool-client/failures.ts';
import { isPassing } from '../../pool-client/retry.ts';
import { connectErrorOf } from '../../pool-client/transport.ts';
import type { Background, Clock } from '../../ports.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { ChosenNode, NodeChoice } from './choice.ts';
import type { PoolDirectory } from './directory.ts';
import { type Capability, canDo, type PoolModel, type PoolNode } from './nodes.ts';

/** Nodes that one call is sent to at most. */
export const nodesTriedMax = 3;
/** What an overloaded node's refusal counts as in the average, in milliseconds: others look better, and it is not ejected. */
const refusalMs = 1_000;

interface PoolPorts {
  readonly directory: PoolDirectory;
  readonly choice: NodeChoice;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly client: (address: string) => PoolClient;
}

/** One call: what it needs of a node, and how it is bounded. */
export interface NodeCall {
  /** Null: any node will do. */
  readonly wanted: { readonly model: string; readonly capability: Capability } | null;
  /** What the call's beginning is known by, so that calls that share it meet; null: nothing to share. */
  readonly key: string | null;
  readonly signal: AbortSignal;
  readonly traceparent: string;
  readonly timeoutMs: number;
  readonly background: Background;
}

/** A call that one node is asked to do. */
type Attempt<Result> = (client: PoolClient, options: CallOptions) => Promise<Result>;

/** The pool; one an isolate. */
export class Pool {
  readonly #ports: PoolPorts;

  constructor(ports: PoolPorts) {
    this.#ports = ports;
  }

  /** Every model that a node has ready, by name, with the time in seconds at which the first of its nodes started. */
  async models(background: Background): Promise<(PoolModel & { readonly createdAt: number })[]> {
    const models = new Map<string, PoolModel & { createdAt: number }>();
    for (const node of await this.#ports.directory.nodes(background)) {
      for (const model of node.models.values()) {
        const createdAt = Math.min(node.startedAt, models.get(model.name)?.createdAt ?? node.startedAt);
        models.set(model.name, { ...model, createdAt });
      }
    }
    return [...models.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Whether a node has `model` ready for `capability`. */
  async has(model: string, capability: Capability, background: Background): Promise<boolean> {
    return (await this.#ports.directory.nodes(background)).some((node) => canDo(node, model, capability));
  }

  /** The answer of the call that `attempt` makes. @throws ApiError */
  call<Result>(call: NodeCall, attempt: Attempt<Result>): Promise<Result> {
    return this.#tryNodes(call, async (chosen, client, options) => {
      try {
        return await attempt(client, options);
      } finally {
        chosen.over();
      }
    });
  }

  /** The messages of the stream that `attempt` opens, once the first is there. @throws ApiError, also in the middle */
  stream<Message>(
    call: NodeCall,
    attempt: (client: PoolClient, options: CallOptions) => AsyncIterable<Message>,
  ): Promise<AsyncGenerator<Message>> {
    return this.#tryNodes(call, async (chosen, client, options) => {
      const messages = attempt(client, options)[Symbol.asyncIterator]();
      try {
        return continued(await messages.next(), messages, chosen.over);
      } catch (thrown) {
        chosen.over();
        throw thrown;
      }
    });
  }

  async #tryNodes<Result>(
    call: NodeCall,
    attempt: (chosen: ChosenNode, client: PoolClient, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const { directory, choice, client, metrics } = this.#ports;
    const { wanted, key, signal, traceparent, timeoutMs, background } = call;
    const options = callOptions({ signal, traceparent, timeoutMs, attemptsMax: 1 });
    const tried = new Set<string>();
    let failure: ApiError | null = null;
    while (tried.size < nodesTriedMax) {
      const isCandidate = (node: PoolNode) =>
        !tried.has(node.id) && (wanted === null || canDo(node, wanted.model, wanted.capability));
      const chosen = await choice.choose((await directory.nodes(background)).filter(isCandidate), key);
      if (chosen === null) break;
      metrics.poolChoices.inc({ reason: tried.size === 0 ? chosen.reason : 'failover' });
      tried.add(chosen.node.id);
      try {
        return await this.#counted(chosen, signal, () => attempt(chosen, client(chosen.node.address), options));
      } catch (thrown) {
        failure = poolFailure(thrown);
        if (!mayBeElsewhere(thrown)) break;
      }
    }
    throw failure ?? new ApiError('pool_unavailable', 'No node of the inference pool takes this call now.');
  }

  /** Runs `work` and tells router and counters how the node did. */
  async #counted<Result>(chosen: ChosenNode, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const { clock, metrics } = this.#ports;
    const upstream = new URL(chosen.node.address).host;
    const startedAt = clock.elapsed();
    const settle = (result: string, succeeded: boolean, latencyMs: number): void => {
      chosen.begun(succeeded, latencyMs);
      metrics.upstreamCalls.inc({ upstream, result });
      metrics.upstreamSeconds.observe({ upstream }, latencyMs / 1e3);
    };
    const elapsedMs = () => Math.max(0, clock.elapsed() - startedAt);
    try {
      const result = await work();
      settle('ok', true, elapsedMs());
      return result;
    } catch (thrown) {
      const error = connectErrorOf(thrown, signal);
      if (signal.aborted) settle('aborted', true, elapsedMs());
      else if (error.code === Code.ResourceExhausted) settle('overloaded', true, Math.max(refusalMs, elapsedMs()));
      else if (isNodesFault(error)) settle('failed', false, elapsedMs());
      else settle('refused', true, elapsedMs());
      throw error;
    }
  }
}

/** Whether another node may do what this one did not: it is away, full, or has just unloaded the model. */
const mayBeElsewhere = (thrown: unknown): boolean =>
  isPassing(thrown) || (thrown instanceof ConnectError && thrown.code === Code.NotFound);

const isNodesFault = ({ code }: ConnectError): boolean =>
  [Code.Unavailable, Code.Internal, Code.Unknown, Code.DataLoss, Code.DeadlineExceeded].includes(code);

/** `messages` from `head` on; `over` is called once, however it ends. */
async function* continued<Message>(
  head: IteratorResult<Message>,
  messages: AsyncIterator<Message>,
  over: () => void,
): AsyncGenerator<Message> {
  try {
    for (let step = head; step.done !== true; step = await messages.next()) yield step.value;
  } catch (thrown) {
    throw poolFailure(thrown);
  } finally {
    over();
    await messages.return?.();
  }
}
