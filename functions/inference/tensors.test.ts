import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testSeed } from '../../tests/support/seed.ts';
import { ApiError } from '../errors.ts';
import type { EmbeddingInputs } from './engine.ts';
import { BinaryData, type RequestTensor, tensorElementsMax, toEmbeddingInputs, toOutputTensor } from './tensors.ts';

const seed = testSeed('tensors');
const empty = new Uint8Array();

const read = (tensors: RequestTensor[], raw: Uint8Array = empty): EmbeddingInputs =>
  toEmbeddingInputs(tensors, new BinaryData(raw));

/** The elements as Triton's clients write BYTES: a length of 32 bits, little-endian, before each. */
function bytesElements(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const parts = texts.map((text) => {
    const utf8 = new TextEncoder().encode(text);
    const length = new Uint8Array(new Uint32Array([utf8.byteLength]).buffer);
    return [length, utf8];
  });
  return new Uint8Array(Buffer.concat(parts.flat()));
}

const integers = (datatype: string, values: readonly number[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(datatype === 'INT64' ? new BigInt64Array(values.map(BigInt)).buffer : new Int32Array(values).buffer);

const binary = (name: string, datatype: string, shape: number[], size: unknown): RequestTensor => ({
  name,
  datatype,
  shape,
  parameters: { binary_data_size: size },
});

test.each([[[2]], [[2, 1]]])('texts in JSON, shape %j', (shape) => {
  const inputs = read([{ name: 'text', datatype: 'BYTES', shape, data: ['one', 'two'] }]);
  expect(inputs).toEqual({ kind: 'texts', texts: ['one', 'two'] });
});

test('texts in JSON, nested as the shape is', () => {
  const inputs = read([{ name: 'text', datatype: 'BYTES', shape: [2, 1], data: [['one'], ['two']] }]);
  expect(inputs).toEqual({ kind: 'texts', texts: ['one', 'two'] });
});

test('texts in binary', () => {
  const raw = bytesElements(['grüße', '日本語 🌲', 'x']);
  const inputs = read([binary('text', 'BYTES', [3, 1], raw.byteLength)], raw);
  expect(inputs).toEqual({ kind: 'texts', texts: ['grüße', '日本語 🌲', 'x'] });
});

test.each(['INT64', 'INT32'])('%s token ids with their mask, in JSON and in binary', (datatype) => {
  const shape = [2, 3];
  const [ids, mask] = [
    [101, 7592, 102, 101, 102, 0],
    [1, 1, 1, 1, 1, 0],
  ];
  const expected = {
    kind: 'tokens',
    sequences: [
      [101, 7592, 102],
      [101, 102],
    ],
  };
  const inJson = [
    { name: 'input_ids', datatype, shape, data: ids },
    { name: 'attention_mask', datatype, shape, data: mask },
  ];
  expect(read(inJson)).toEqual(expected);
  const [rawIds, rawMask] = [integers(datatype, ids), integers(datatype, mask)];
  const inBinary = [
    binary('attention_mask', datatype, shape, rawMask.byteLength),
    binary('input_ids', datatype, shape, rawIds.byteLength),
  ];
  expect(read(inBinary, new Uint8Array([...rawMask, ...rawIds]))).toEqual(expected);
});

test('raw data that does not begin at a multiple of its element’s width is read', () => {
  const raw = new Uint8Array([9, ...integers('INT64', [7, 8])]).subarray(1);
  expect(read([binary('input_ids', 'INT64', [1, 2], 16)], raw)).toEqual({ kind: 'tokens', sequences: [[7, 8]] });
});

const oneText = bytesElements(['hello']);
const cut = (bytes: Uint8Array, end: number): Uint8Array => bytes.subarray(0, end);
const json = (name: string, datatype: string, shape: number[], data?: unknown[]): RequestTensor => ({
  name,
  datatype,
  shape,
  ...(data === undefined ? {} : { data }),
});

test.each<[string, RequestTensor[], Uint8Array, RegExp]>([
  ['an unknown tensor', [json('image', 'FP32', [1], [1])], empty, /"image": is not an input/],
  ['a text of another type', [json('text', 'FP32', [1], [1])], empty, /must be BYTES/],
  ['token ids of another type', [json('input_ids', 'FP32', [1, 1], [1])], empty, /must be INT64 or INT32/],
  ['a tensor twice', [json('text', 'BYTES', [1], ['a']), json('text', 'BYTES', [1], ['b'])], empty, /given twice/],
  [
    'both text and token ids',
    [json('text', 'BYTES', [1], ['a']), json('input_ids', 'INT64', [1, 1], [1])],
    empty,
    /either/,
  ],
  ['a mask alone', [json('attention_mask', 'INT64', [1, 1], [1])], empty, /either text or input_ids/],
  [
    'a mask of another shape',
    [json('input_ids', 'INT64', [1, 2], [1, 2]), json('attention_mask', 'INT64', [2, 1], [1, 1])],
    empty,
    /that of input_ids/,
  ],
  ['no data', [json('text', 'BYTES', [1])], empty, /neither data/],
  ['fewer elements than the shape says', [json('text', 'BYTES', [2], ['a'])], empty, /says 2 elements/],
  ['more elements than the shape says', [json('input_ids', 'INT64', [1, 1], [1, 2])], empty, /says 1 elements/],
  ['a shape of two columns for text', [json('text', 'BYTES', [1, 2], ['a', 'b'])], empty, /\[n\] or \[n, 1\]/],
  ['a shape of three', [json('text', 'BYTES', [1, 1, 1], ['a'])], empty, /\[n\] or \[n, 1\]/],
  ['token ids in one dimension', [json('input_ids', 'INT64', [2], [1, 2])], empty, /\[n, tokens\]/],
  ['numbers as texts', [json('text', 'BYTES', [1], [1])], empty, /must be strings/],
  ['a negative token id', [json('input_ids', 'INT64', [1, 1], [-1])], empty, /whole numbers/],
  ['a fraction', [json('input_ids', 'INT64', [1, 1], [1.5])], empty, /whole numbers/],
  [
    'a token id that would wrap around in 32 bits',
    [json('input_ids', 'INT64', [1, 1], [2 ** 32 + 101])],
    empty,
    /whole numbers/,
  ],
  [
    'the same in binary',
    [binary('input_ids', 'INT64', [1, 1], 8)],
    integers('INT64', [2 ** 32 + 101]),
    /whole numbers/,
  ],
  [
    'a negative token id in binary',
    [binary('input_ids', 'INT32', [1, 1], 4)],
    integers('INT32', [-1]),
    /whole numbers/,
  ],
  [
    'more elements than the bound',
    [json('input_ids', 'INT64', [1, tensorElementsMax + 1], [])],
    empty,
    /elements are more than/,
  ],
  [
    'a shape whose product overflows',
    [json('input_ids', 'INT64', [1e308, 1e308], [])],
    empty,
    /elements are more than/,
  ],
  ['a billion rows of nothing', [json('input_ids', 'INT64', [1e9, 0], [])], empty, /has no elements/],
  ['no rows', [json('text', 'BYTES', [0], [])], empty, /has no elements/],
  ['a name of JavaScript’s own', [json('__proto__', 'BYTES', [1], ['a'])], empty, /"__proto__": is not an input/],
  ['a size over the body', [binary('text', 'BYTES', [1], 99)], oneText, /more than the body holds/],
  ['a size under the body', [binary('text', 'BYTES', [1], oneText.byteLength - 1)], oneText, /cut off/],
  [
    'bytes after the last tensor',
    [binary('text', 'BYTES', [1], oneText.byteLength)],
    new Uint8Array([...oneText, 0]),
    /1 bytes follow/,
  ],
  ['binary data that no tensor names', [json('text', 'BYTES', [1], ['a'])], oneText, /follow the last tensor/],
  ['a cut element', [binary('text', 'BYTES', [1], 6)], cut(oneText, 6), /an element is cut off/],
  ['a cut length', [binary('text', 'BYTES', [1], 3)], cut(oneText, 3), /length is cut off/],
  [
    'an element that claims 4 GiB',
    [binary('text', 'BYTES', [1], 5)],
    Uint8Array.of(255, 255, 255, 255, 1),
    /an element is cut off/,
  ],
  ['bytes that are not UTF-8', [binary('text', 'BYTES', [1], 5)], Uint8Array.of(1, 0, 0, 0, 0xff), /not UTF-8/],
  ['half an integer', [binary('input_ids', 'INT64', [1, 1], 12)], new Uint8Array(12), /multiple of 8/],
  ['a size that is text', [binary('text', 'BYTES', [1], '9')], oneText, /whole number/],
  ['a negative size', [binary('text', 'BYTES', [1], -1)], oneText, /whole number/],
  ['a size that is a fraction', [binary('text', 'BYTES', [1], 1.5)], oneText, /whole number/],
])('refused: %s', (_, tensors, raw, message) => {
  expect(() => read(tensors, raw)).toThrow(message);
  expect(() => read(tensors, raw)).toThrow(ApiError);
});

test('any texts come through the binary form as they were', () => {
  const text = fc.string({ unit: 'binary' }).filter((one) => one.isWellFormed());
  const property = fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (texts) => {
    const raw = bytesElements(texts);
    expect(read([binary('text', 'BYTES', [texts.length], raw.byteLength)], raw)).toEqual({ kind: 'texts', texts });
  });
  fc.assert(property, { seed, numRuns: 300 });
});

test('any token ids come through the binary form as they were', () => {
  const ids = fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 64 });
  const property = fc.property(fc.constantFrom('INT64', 'INT32'), ids, (datatype, values) => {
    const raw = integers(datatype, values);
    const tensor = binary('input_ids', datatype, [1, values.length], raw.byteLength);
    expect(read([tensor], raw)).toEqual({ kind: 'tokens', sequences: [values] });
  });
  fc.assert(property, { seed, numRuns: 300 });
});

test('whatever the tensors claim and the body holds: inputs that match the shape, or a refusal', () => {
  const size = fc.oneof(fc.nat({ max: 80 }), fc.constantFrom(-1, 1.5, Number.NaN, 2 ** 53, '8', null));
  const tensor = fc.record(
    {
      name: fc.constantFrom('text', 'input_ids', 'attention_mask', '__proto__', 'toString'),
      datatype: fc.constantFrom('BYTES', 'INT64', 'INT32', 'FP32'),
      shape: fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 3 }),
      data: fc.array(fc.oneof(fc.string(), fc.integer(), fc.array(fc.anything())), { maxLength: 6 }),
      parameters: fc.record({ binary_data_size: size }),
    },
    { requiredKeys: ['name', 'datatype', 'shape'] },
  );
  const property = fc.property(
    fc.array(tensor, { minLength: 1, maxLength: 3 }),
    fc.uint8Array({ maxLength: 80 }),
    (tensors, raw) => {
      try {
        const inputs = read(tensors as RequestTensor[], raw);
        const count = inputs.kind === 'texts' ? inputs.texts.length : inputs.sequences.length;
        const named = tensors.find(({ name }) => name === (inputs.kind === 'texts' ? 'text' : 'input_ids'));
        expect(count).toBe(named?.shape[0]);
      } catch (thrown) {
        if (!(thrown instanceof ApiError)) throw thrown;
        expect(thrown.status).toBe(400);
      }
    },
  );
  fc.assert(property, { seed, numRuns: 2_000 });
});

test('the output in JSON, and in binary with the same numbers', () => {
  const batch = { vectors: new Float32Array([0.5, -0.25, 1, 0]), dimensions: 2, count: 2, tokens: 0, truncated: [] };
  const inJson = toOutputTensor(batch, false);
  expect(inJson).toEqual({
    tensor: { name: 'embedding', datatype: 'FP32', shape: [2, 2], data: [0.5, -0.25, 1, 0] },
    raw: null,
  });
  const { tensor, raw } = toOutputTensor(batch, true);
  expect(tensor).toMatchObject({ shape: [2, 2], parameters: { binary_data_size: 16 } });
  expect(tensor).not.toHaveProperty('data');
  expect(new Float32Array(new Uint8Array(raw ?? empty).buffer)).toEqual(batch.vectors);
});

test('the output of a part of a larger buffer holds that part alone', () => {
  const vectors = new Float32Array([9, 9, 1, 2, 9]).subarray(2, 4);
  const { raw } = toOutputTensor({ vectors, dimensions: 2, count: 1, tokens: 0, truncated: [] }, true);
  expect(new Float32Array(new Uint8Array(raw ?? empty).buffer)).toEqual(new Float32Array([1, 2]));
});
