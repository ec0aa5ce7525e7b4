/** What stands behind the pool's operations while they are fuzzed: a node that answers each of them. */
import { createHash } from 'node:crypto';
import { JobState } from '../../functions/pool-client/gen/services_pb.js';
import { described, saying, startNode, type TestNode } from '../support/pool-node.ts';

/** The id that the pool gives the job of a key. */
const idOf = (key: string): string => `job-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`;

const job = (id: string) => ({ id, state: JobState.QUEUED, submittedAtMs: 1_793_491_200_000n });

/** Listens on `port`. */
export function startFuzzedNode(port: number): Promise<TestNode> {
  return startNode(
    {
      node: { listNodes: () => ({ nodes: [described('fuzzed', `http://127.0.0.1:${port}`)] }) },
      inference: { generate: () => saying('Hello') },
      job: {
        submitJob: ({ idempotencyKey }) => job(idOf(idempotencyKey)),
        getJob: ({ id }) => job(id),
        cancelJob: ({ id }) => job(id),
      },
      // Operations whose answers are no echo have a length of their own: none is the shortest.
      ipc: {
        call: ({ operation, data }) => ({
          operation,
          data: operation === 'echo' ? data : new Uint8Array(),
          transport: 'ffi',
        }),
      },
    },
    port,
  );
}
