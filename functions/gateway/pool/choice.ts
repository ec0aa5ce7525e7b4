/**
 * Which node takes a call: the one that the conversation's beginning belongs to, since it holds the keys and values of
 * that beginning, unless it has so much more to do than another that the reuse would not pay. The node of a beginning is
 * found by rendezvous hashing (Thaler and Ravishankar, 1998): a node that comes or goes moves only its own share. The
 * other is the TinyGo router's choice, by the power of two choices, which leaves nodes alone that failed.
 */
import type { Router } from '../../../wasm-go/routing.ts';
import type { Clock, Random } from '../../ports.ts';
import type { LiveInstance } from '../../wasm/instance.ts';
import { nodesMax, type PoolNode } from './nodes.ts';

/** Calls by which the node of the beginning may be busier than the other one and still be taken. */
export const affinityCallsMax = 4;
/** Time after which a call counts as ended even if nobody said so, in milliseconds: a host may end a request silently. */
export const callMsMax = 600_000;

/** Why a node was chosen, for the counter. */
export type Reason = 'prefix' | 'load';

/** A node, and the bookkeeping of a call to it. */
export interface ChosenNode {
  readonly node: PoolNode;
  readonly reason: Reason;
  /** Says that the answer has begun, after `latencyMs`, or that the call failed by the node's fault. Once. */
  readonly begun: (succeeded: boolean, latencyMs: number) => void;
  /** Says that the call is over. Once. */
  readonly over: () => void;
}

interface ChoicePorts {
  readonly clock: Clock;
  readonly random: Random;
  /** A router of its own. A fresh one (after a trap) knows no nodes, and has another generation. */
  readonly router: () => Promise<LiveInstance<Router>>;
}

/** 32 bits of FNV-1a over UTF-16 units, mixed once more (MurmurHash3's finaliser) so that near texts land far apart. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The node among `nodes` that `key` belongs to; null where there is none. */
export function nodeOfKey(nodes: readonly PoolNode[], key: string): PoolNode | null {
  let best: { node: PoolNode; score: number } | null = null;
  for (const node of nodes) {
    const score = hash32(`${node.id}\n${key}`);
    if (best === null || score > best.score || (score === best.score && node.id < best.node.id)) best = { node, score };
  }
  return best?.node ?? null;
}

/** Chooses nodes. One an isolate. */
export class NodeChoice {
  readonly #ports: ChoicePorts;
  /** Each node's index in the router. Indices are not reused, so that a new node inherits nothing, until none is left. */
  #slots = new Map<string, number>();
  #slotsUsed = 0;
  #generation = -1;
  /** When each call of this isolate began that has not ended, by node. */
  readonly #running = new Map<string, Set<{ readonly at: number }>>();

  constructor(ports: ChoicePorts) {
    this.#ports = ports;
  }

  /**
   * The node for a call, out of `all` that could take it (at most `nodesMax`). `key` is what its beginning is known by; null: any
   * node is as good. Null where there is no candidate, or all failed just now.
   */
  async choose(all: readonly PoolNode[], key: string | null): Promise<ChosenNode | null> {
    const open = all.filter(({ isFull }) => !isFull);
    // Where every queue is full, one of them may have room again by now.
    const candidates = open.length > 0 ? open : all;
    if (candidates.length === 0) return null;
    const { clock, random } = this.#ports;
    const live = await this.#ports.router();
    const now = clock.now();
    return live.run((router, generation) => {
      this.#enter(router, generation, candidates);
      const weights = new Map(candidates.map((node) => [this.#slotOf(node), this.#weight(node, now)]));
      for (const slot of this.#slots.values()) router.setWeight(slot, weights.get(slot) ?? 0);
      const drawn = router.choose(now, random.fraction(), random.fraction());
      const other = candidates.find((node) => this.#slotOf(node) === drawn);
      if (other === undefined) return null;
      const isInService = (node: PoolNode) => router.upstream(this.#slotOf(node)).ejectedUntilMs <= now;
      const own = key === null ? null : nodeOfKey(candidates.filter(isInService), key);
      const isOwn = own !== null && this.#calls(own, now) <= this.#calls(other, now) + affinityCallsMax;
      const node = isOwn ? own : other;
      router.begin(this.#slotOf(node), now);
      return this.#chosen(node, isOwn ? 'prefix' : 'load', live, generation);
    });
  }

  #slotOf(node: PoolNode): number {
    return this.#slots.get(node.id) ?? -1;
  }

  /** Makes sure that the router knows every candidate. */
  #enter(router: Router, generation: number, candidates: readonly PoolNode[]): void {
    const unknown = candidates.filter(({ id }) => !this.#slots.has(id));
    const isForgotten = generation !== this.#generation;
    if (!isForgotten && unknown.length + this.#slotsUsed <= nodesMax) {
      for (const { id } of unknown) this.#slots.set(id, this.#slotsUsed++);
      return;
    }
    router.setUpstreams(Array.from({ length: nodesMax }, () => ({ weight: 0 })));
    this.#generation = generation;
    this.#slots = new Map(candidates.map(({ id }, index) => [id, index]));
    this.#slotsUsed = candidates.length;
  }

  /** Calls at `node`: those it told of, or those that this isolate has there, whichever are more. */
  #calls(node: PoolNode, now: number): number {
    const running = this.#running.get(node.id);
    if (running === undefined) return node.calls;
    for (const call of running) if (now - call.at > callMsMax) running.delete(call);
    return Math.max(node.calls, running.size);
  }

  #weight(node: PoolNode, now: number): number {
    return 1 / (1 + this.#calls(node, now));
  }

  #chosen(node: PoolNode, reason: Reason, live: LiveInstance<Router>, generation: number): ChosenNode {
    const slot = this.#slotOf(node);
    const slots = this.#slots;
    const call = { at: this.#ports.clock.now() };
    const running = this.#running.get(node.id) ?? new Set();
    this.#running.set(node.id, running.add(call));
    return {
      node,
      reason,
      begun: (succeeded, latencyMs) =>
        live.run((router, current) => {
          // A router that was replaced or reset meanwhile knows nothing of this call.
          if (current !== generation || this.#slots !== slots) return;
          router.end(slot, this.#ports.clock.now(), latencyMs, succeeded);
        }),
      over: () => {
        running.delete(call);
        if (running.size === 0) this.#running.delete(node.id);
      },
    };
  }
}
