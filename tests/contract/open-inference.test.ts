import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { cosine, edge, model } from './edge.ts';

const client = edge();
const path = `/v2/models/${model}`;
const text = { name: 'text', datatype: 'BYTES', shape: [2], data: ['hello world', 'grüße 🌲'] };

/** A body in the binary extension: the JSON head, then the raw data. */
function binaryBody(head: unknown, raw: Uint8Array): { body: Uint8Array; headers: Record<string, string> } {
  const json = new TextEncoder().encode(JSON.stringify(head));
  return {
    body: new Uint8Array(Buffer.concat([json, raw])),
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(json.byteLength) },
  };
}

function bytesElements(texts: readonly string[]): Buffer {
  return Buffer.concat(
    texts.flatMap((one) => {
      const utf8 = Buffer.from(one);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(utf8.byteLength);
      return [length, utf8];
    }),
  );
}

test.each([
  ['/v2', { name: 'treeline', extensions: ['binary_tensor_data'] }],
  ['/v2/health/live', { live: true }],
  ['/v2/health/ready', { ready: true }],
  [path, { name: model, versions: ['1'], outputs: [{ name: 'embedding', datatype: 'FP32', shape: [-1, 384] }] }],
  [`${path}/versions/1`, { name: model }],
  [`${path}/ready`, { name: model, ready: true }],
  [`${path}/versions/1/ready`, { name: model, ready: true }],
  ['/v2/models/test', { name: model }],
])('GET %s', async (address, expected) => {
  const { status, body } = await client.json(address);
  expect(status).toBe(200);
  expect(body).toMatchObject(expected);
});

test.each(['/v2/models/none', '/v2/models/none/ready', `${path}/versions/2`, `${path}/versions/2/ready`])(
  'GET %s is not found',
  async (address) => {
    const { status, body } = await client.json(address);
    expect([status, body.code, typeof body.error]).toEqual([404, 'model_not_found', 'string']);
  },
);

test('texts in JSON give the vectors that /v1/embeddings gives', async () => {
  const { status, body } = await client.json(`${path}/infer`, { body: { id: 'call-1', inputs: [text] } });
  expect(status).toBe(200);
  expect(body).toMatchObject({ model_name: model, model_version: '1', id: 'call-1' });
  const [output] = body.outputs;
  expect(output).toMatchObject({ name: 'embedding', datatype: 'FP32', shape: [2, 384] });
  const [first = []] = await client.embed('hello world');
  expect(cosine(output.data.slice(0, 384), first)).toBeGreaterThan(0.9999);
});

test('texts and output in binary', async () => {
  const raw = bytesElements(text.data);
  const head = {
    inputs: [{ name: 'text', datatype: 'BYTES', shape: [2, 1], parameters: { binary_data_size: raw.byteLength } }],
    outputs: [{ name: 'embedding', parameters: { binary_data: true } }],
  };
  const response = await client.call(`${path}/infer`, { method: 'POST', ...binaryBody(head, raw) });
  expect(response.status).toBe(200);
  const length = Number(response.headers.get('inference-header-content-length'));
  const bytes = Buffer.from(await response.arrayBuffer());
  const answer = JSON.parse(bytes.subarray(0, length).toString());
  expect(answer.outputs).toMatchObject([{ shape: [2, 384], parameters: { binary_data_size: 2 * 384 * 4 } }]);
  const vectors = new Float32Array(new Uint8Array(bytes.subarray(length)).buffer);
  expect(vectors).toHaveLength(768);
  const [first = []] = await client.embed('hello world');
  expect(cosine(Array.from(vectors.subarray(0, 384)), first)).toBeGreaterThan(0.9999);
});

test.each(['INT64', 'INT32'])('%s token ids with a mask, in binary and in JSON', async (datatype) => {
  const [ids, mask] = [
    [101, 7592, 2088, 102, 0, 0],
    [1, 1, 1, 1, 0, 0],
  ];
  const tensor = (name: string) => ({ name, datatype, shape: [1, 6] });
  const [byText = []] = await client.embed('hello world');
  const inputs = [
    { ...tensor('input_ids'), data: ids },
    { ...tensor('attention_mask'), data: mask },
  ];
  const inJson = await client.json(`${path}/infer`, { body: { inputs } });
  expect(cosine(inJson.body.outputs[0].data, byText)).toBeGreaterThan(0.999);
  const pack = (values: number[]) =>
    Buffer.from(datatype === 'INT64' ? new BigInt64Array(values.map(BigInt)).buffer : new Int32Array(values).buffer);
  const raw = Buffer.concat([pack(ids), pack(mask)]);
  const size = { parameters: { binary_data_size: raw.byteLength / 2 } };
  const head = {
    inputs: [
      { ...tensor('input_ids'), ...size },
      { ...tensor('attention_mask'), ...size },
    ],
  };
  const inBinary = await client.json(`${path}/infer`, { method: 'POST', ...binaryBody(head, raw) });
  expect(inBinary.body.outputs[0].data).toEqual(inJson.body.outputs[0].data);
});

test('a body may come as gzip', async () => {
  const body = new Uint8Array(gzipSync(JSON.stringify({ inputs: [text] })));
  const { status } = await client.json(`${path}/infer`, { body, headers: { 'content-encoding': 'gzip' } });
  expect(status).toBe(200);
});

const one = { name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] };
test.each<[string, unknown, Record<string, string>]>([
  ['no inputs', { inputs: [] }, {}],
  ['a shape that lies', { inputs: [{ ...one, shape: [2] }] }, {}],
  ['a billion rows of nothing', { inputs: [{ name: 'input_ids', datatype: 'INT64', shape: [1e9, 0], data: [] }] }, {}],
  ['an unknown tensor', { inputs: [{ ...one, name: '__proto__' }] }, {}],
  ['an unknown output', { inputs: [one], outputs: [{ name: 'logits' }] }, {}],
  ['an empty text', { inputs: [{ ...one, data: [''] }] }, {}],
  ['a head longer than the body', { inputs: [one] }, { 'inference-header-content-length': '99999' }],
  ['a head length that is no number', { inputs: [one] }, { 'inference-header-content-length': '-1' }],
  ['a body that says gzip and is not', { inputs: [one] }, { 'content-encoding': 'gzip' }],
])('infer refuses %s with a sentence', async (_, body, headers) => {
  const answer = await client.json(`${path}/infer`, { body, headers });
  expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request']);
  expect(answer.body.error).toMatch(/\w+ \w+/);
});

test('an encoding that is not read is a 415', async () => {
  const answer = await client.json(`${path}/infer`, { body: 'x', headers: { 'content-encoding': 'zstd' } });
  expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_media_type']);
});
