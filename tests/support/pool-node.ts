/** A small node of the pool, by the real protocol, that does what a test tells it: what stands behind the client in tests. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  FinishReason,
  InferenceService,
  IpcService,
  JobService,
  ModelService,
  ModelState,
  NodeService,
} from '../../functions/pool-client/gen/services_pb.js';

/** What the node answers; what is not given is unimplemented. */
export interface NodeBehaviour {
  readonly inference?: Partial<ServiceImpl<typeof InferenceService>>;
  readonly model?: Partial<ServiceImpl<typeof ModelService>>;
  readonly node?: Partial<ServiceImpl<typeof NodeService>>;
  readonly job?: Partial<ServiceImpl<typeof JobService>>;
  readonly ipc?: Partial<ServiceImpl<typeof IpcService>>;
}

/** One request as it came. */
export interface SeenRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A node that listens on a free port of loopback. */
export interface TestNode {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  close(): Promise<void>;
}

/** Starts a node that behaves as told, on `port` (0: any free one). */
export async function startNode(behaviour: NodeBehaviour, port = 0): Promise<TestNode> {
  const routes = (router: ConnectRouter): void => {
    router.service(InferenceService, behaviour.inference ?? {});
    router.service(ModelService, behaviour.model ?? {});
    router.service(NodeService, behaviour.node ?? {});
    router.service(JobService, behaviour.job ?? {});
    router.service(IpcService, behaviour.ipc ?? {});
  };
  const handle = connectNodeAdapter({ routes });
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers });
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A chat model as nodes list it. */
export const chatModel = {
  name: 'test-chat-of-pool',
  version: '1',
  state: ModelState.READY,
  capabilities: ['generate'] as string[],
};

/** One node's description for `ListNodes`. */
export const described = (id: string, address: string, more: object = {}) => ({
  id,
  address,
  models: [chatModel],
  startedAtMs: 1_793_491_200_000n,
  ...more,
});

/** The messages of an answer that says `words`, one message each, and then its usage. */
export async function* saying(...words: string[]) {
  yield { index: 0, model: chatModel.name, version: '1' };
  for (const [at, text] of words.entries()) yield { index: 0, text, ids: [at] };
  yield { index: 0, finishReason: FinishReason.STOP };
  yield { usage: { promptTokens: 11, completionTokens: words.length, cachedTokens: 5 } };
}
