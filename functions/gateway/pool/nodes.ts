/** What the edge knows of the pool's nodes, made from what a directory answers. A node that makes no sense is left out. */
import { isAllowedAddress } from '../../configuration.ts';
import { ModelState, type Node } from '../../pool-client/gen/services_pb.js';

/** What a model of the pool can do, as the contract names it. */
export type Capability = 'generate' | 'embed' | 'rerank' | 'infer';

/** Nodes that are kept of one directory: as many as the router takes. */
export const nodesMax = 256;

/** A model that a node has ready. */
export interface PoolModel {
  readonly name: string;
  readonly version: string;
  readonly capabilities: ReadonlySet<string>;
}

/** A node that takes calls. */
export interface PoolNode {
  readonly id: string;
  /** Base address, without a slash at the end. */
  readonly address: string;
  /** Unix time in seconds. */
  readonly startedAt: number;
  readonly models: ReadonlyMap<string, PoolModel>;
  /** Calls that it runs or that wait there, as it last said. */
  readonly calls: number;
  /** Whether its queue was full. */
  readonly isFull: boolean;
}

/**
 * The nodes of `listed` that take calls: not draining, with an address that may be called. `seed` is the address that
 * answered; a node that names none of its own is that one.
 */
export function usableNodes(listed: readonly Node[], seed: string): PoolNode[] {
  const nodes = new Map<string, PoolNode>();
  for (const node of listed) {
    const address = (node.address === '' ? seed : node.address).replace(/\/+$/, '');
    if (node.id === '' || node.draining || !isAllowedAddress(address)) continue;
    if (nodes.size < nodesMax) nodes.set(node.id, toPoolNode(node, address));
  }
  return [...nodes.values()];
}

function toPoolNode({ id, models, load, startedAtMs }: Node, address: string): PoolNode {
  const ready = models.filter(({ state }) => state === ModelState.READY);
  const [running, waiting, waitingMax] = [load?.running ?? 0, load?.waiting ?? 0, load?.waitingMax ?? 0];
  return {
    id,
    address,
    startedAt: Math.max(0, Math.floor(Number(startedAtMs) / 1e3)),
    models: new Map(
      ready.map(({ name, version, capabilities }) => [name, { name, version, capabilities: new Set(capabilities) }]),
    ),
    calls: running + waiting,
    isFull: waitingMax > 0 && waiting >= waitingMax,
  };
}

/** Whether `node` has `model` ready for `capability`. */
export const canDo = (node: PoolNode, model: string, capability: Capability): boolean =>
  node.models.get(model)?.capabilities.has(capability) === true;
