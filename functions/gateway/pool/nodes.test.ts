import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { ModelState, type Node, NodeSchema } from '../../pool-client/gen/services_pb.js';
import { canDo, nodesMax, usableNodes } from './nodes.ts';

const nodeOf = (fields: Parameters<typeof create<typeof NodeSchema>>[1]): Node => create(NodeSchema, fields);
const address = 'https://10.0.0.7:8089/';

test('a node’s models count once they are ready, and its load and address are read', () => {
  const models = [
    { name: 'ready', state: ModelState.READY, capabilities: ['embed', 'rerank'] },
    { name: 'loading', state: ModelState.LOADING, capabilities: ['embed'] },
  ];
  const load = { running: 3, waiting: 4, waitingMax: 4 };
  const [node] = usableNodes([nodeOf({ id: 'a', address, models, load, startedAtMs: 5_999n })], '');
  expect(node).toMatchObject({ id: 'a', address: 'https://10.0.0.7:8089', calls: 7, isFull: true, startedAt: 5 });
  if (node === undefined) throw new Error('there is a node');
  expect([canDo(node, 'ready', 'rerank'), canDo(node, 'ready', 'generate')]).toEqual([true, false]);
  expect([canDo(node, 'loading', 'embed'), canDo(node, 'none', 'embed')]).toEqual([false, false]);
});

test.each<[string, Parameters<typeof nodeOf>[0]]>([
  ['that drains', { id: 'a', address, draining: true }],
  ['without an id', { address }],
  ['with an address that is none', { id: 'a', address: 'nowhere' }],
  ['whose address would carry the tenants’ words in the open', { id: 'a', address: 'http://10.0.0.7:8089' }],
  ['whose address carries a user name', { id: 'a', address: 'https://user@10.0.0.7:8089' }],
])('a node %s is left out', (_, fields) => {
  expect(usableNodes([nodeOf(fields)], 'https://seed')).toEqual([]);
});

test('a node that names no address is the one that was asked; one id is one node', () => {
  const nodes = usableNodes([nodeOf({ id: 'a' }), nodeOf({ id: 'a', address })], 'http://127.0.0.1:8089');
  expect(nodes.map((node) => node.address)).toEqual(['https://10.0.0.7:8089']);
  expect(usableNodes([nodeOf({ id: 'a' })], 'http://127.0.0.1:8089')[0]?.address).toBe('http://127.0.0.1:8089');
});

test('no more nodes are kept than the router takes', () => {
  const many = Array.from({ length: nodesMax + 10 }, (_, index) => nodeOf({ id: String(index), address }));
  expect(usableNodes(many, '')).toHaveLength(nodesMax);
});
