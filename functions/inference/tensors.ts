/**
 * Tensors of the Open Inference Protocol v2, in JSON and in the binary extension: a JSON head whose length the header
 * `Inference-Header-Content-Length` gives, then the raw data of each tensor that names a `binary_data_size`, in order.
 * Source: Open Inference Protocol 2.0 and Triton's "Binary Tensor Data Extension".
 */
import { ApiError } from '../errors.ts';
import type { EmbeddingBatch, EmbeddingInputs } from './engine.ts';

/** A tensor of a request, its data not yet read. */
export interface RequestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  readonly data?: readonly unknown[] | undefined;
  readonly parameters?: Record<string, unknown> | undefined;
}

/** Elements that one tensor may have: 2,048 inputs of 256 tokens. */
export const tensorElementsMax = 2_048 * 256;

/** Largest element of an integer tensor, also of INT64: the models count their tokens in 32 bits. */
const integerMax = 2 ** 31 - 1;

/** The raw data of a body, handed out tensor by tensor. */
export class BinaryData {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The next `length` bytes. */
  take(name: string, length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.byteLength) throw invalid(name, `binary_data_size ${length} is more than the body holds`);
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }

  /** Refuses a body that goes on after its last tensor. */
  finish(): void {
    const left = this.#bytes.byteLength - this.#offset;
    if (left > 0) throw invalid('inputs', `${left} bytes follow the last tensor`);
  }
}

const invalid = (name: string, detail: string) =>
  new ApiError('invalid_request', `tensor "${name.slice(0, 80)}": ${detail}.`, { parameter: name.slice(0, 80) });

const elementCount = ({ name, shape }: RequestTensor): number => {
  const count = shape.reduce((product, size) => product * size, 1);
  // Without elements there are no bounds: a shape of [1e9, 0] would claim a billion empty rows.
  if (count === 0) throw invalid(name, 'has no elements');
  if (!(count <= tensorElementsMax)) throw invalid(name, `${count} elements are more than ${tensorElementsMax}`);
  return count;
};

/** The size that the tensor's `binary_data_size` gives, or null where the data is in JSON. */
function binarySize({ name, parameters }: RequestTensor): number | null {
  const size = parameters?.binary_data_size;
  if (size === undefined) return null;
  if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) return size;
  throw invalid(name, 'binary_data_size must be a whole number');
}

/** BYTES in binary: each element is a 32-bit little-endian length and that many bytes. */
function readBytesElements(name: string, bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const texts: string[] = [];
  for (let offset = 0; offset < bytes.byteLength; ) {
    if (offset + 4 > bytes.byteLength) throw invalid(name, 'an element’s length is cut off');
    const length = view.getUint32(offset, true);
    offset += 4;
    if (offset + length > bytes.byteLength) throw invalid(name, 'an element is cut off');
    try {
      texts.push(decoder.decode(bytes.subarray(offset, offset + length)));
    } catch {
      throw invalid(name, 'an element is not UTF-8');
    }
    offset += length;
  }
  return texts;
}

function readTexts(tensor: RequestTensor, binary: BinaryData): string[] {
  const count = elementCount(tensor);
  const size = binarySize(tensor);
  const texts = size === null ? tensor.data?.flat(2) : readBytesElements(tensor.name, binary.take(tensor.name, size));
  if (texts === undefined) throw invalid(tensor.name, 'has neither data nor a binary_data_size');
  if (texts.length !== count)
    throw invalid(tensor.name, `its shape says ${count} elements, its data has ${texts.length}`);
  if (!texts.every((text) => typeof text === 'string')) throw invalid(tensor.name, 'BYTES elements must be strings');
  return texts;
}

function readIntegers(tensor: RequestTensor, binary: BinaryData): number[] {
  const count = elementCount(tensor);
  const size = binarySize(tensor);
  const numbers = size === null ? tensor.data?.flat(2) : readBinaryIntegers(tensor, binary.take(tensor.name, size));
  if (numbers === undefined) throw invalid(tensor.name, 'has neither data nor a binary_data_size');
  if (numbers.length !== count) {
    throw invalid(tensor.name, `its shape says ${count} elements, its data has ${numbers.length}`);
  }
  if (!numbers.every((value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= integerMax)) {
    throw invalid(tensor.name, `elements must be whole numbers from 0 to ${integerMax}`);
  }
  return numbers as number[];
}

function readBinaryIntegers({ name, datatype }: RequestTensor, bytes: Uint8Array): number[] {
  const width = datatype === 'INT64' ? 8 : 4;
  if (bytes.byteLength % width !== 0) throw invalid(name, `its bytes are no multiple of ${width}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / width }, (_, index) =>
    width === 8 ? Number(view.getBigInt64(index * 8, true)) : view.getInt32(index * 4, true),
  );
}

const accepted = new Map<string, readonly string[]>([
  ['text', ['BYTES']],
  ['input_ids', ['INT64', 'INT32']],
  ['attention_mask', ['INT64', 'INT32']],
]);

/** One row of `text` is one input: shape [n] or [n, 1]. Rows of `input_ids` end where `attention_mask` is 0. */
export function toEmbeddingInputs(tensors: readonly RequestTensor[], binary: BinaryData): EmbeddingInputs {
  const read = new Map<string, { shape: readonly number[]; texts: string[]; numbers: number[] }>();
  for (const tensor of tensors) {
    const types = accepted.get(tensor.name);
    if (types === undefined) throw invalid(tensor.name, 'is not an input; there are text, input_ids, attention_mask');
    if (!types.includes(tensor.datatype)) throw invalid(tensor.name, `must be ${types.join(' or ')}`);
    if (read.has(tensor.name)) throw invalid(tensor.name, 'is given twice');
    const isText = tensor.name === 'text';
    read.set(tensor.name, {
      shape: tensor.shape,
      texts: isText ? readTexts(tensor, binary) : [],
      numbers: isText ? [] : readIntegers(tensor, binary),
    });
  }
  binary.finish();
  const text = read.get('text');
  const ids = read.get('input_ids');
  if ((text === undefined) === (ids === undefined)) throw invalid('inputs', 'give either text or input_ids');
  if (text !== undefined) {
    if (text.shape.length > 2 || (text.shape[1] ?? 1) !== 1) throw invalid('text', 'its shape must be [n] or [n, 1]');
    return { kind: 'texts', texts: text.texts };
  }
  return { kind: 'tokens', sequences: toSequences(ids, read.get('attention_mask')) };
}

type Integers = { readonly shape: readonly number[]; readonly numbers: readonly number[] };

function toSequences(ids: Integers | undefined, mask: Integers | undefined): number[][] {
  const [rows, columns] = ids?.shape ?? [];
  if (ids === undefined || rows === undefined || columns === undefined || ids.shape.length !== 2) {
    throw invalid('input_ids', 'its shape must be [n, tokens]');
  }
  if (mask !== undefined && mask.shape.join() !== ids.shape.join()) {
    throw invalid('attention_mask', 'its shape must be that of input_ids');
  }
  return Array.from({ length: rows }, (_, row) =>
    ids.numbers
      .slice(row * columns, (row + 1) * columns)
      .filter((_id, column) => mask?.numbers[row * columns + column] !== 0),
  );
}

/** The output tensor's description, and its data either in JSON or as raw little-endian bytes. */
export function toOutputTensor(batch: EmbeddingBatch, asBinary: boolean) {
  const head = { name: 'embedding', datatype: 'FP32', shape: [batch.count, batch.dimensions] };
  if (!asBinary) return { tensor: { ...head, data: Array.from(batch.vectors) }, raw: null };
  const { buffer, byteOffset, byteLength } = batch.vectors;
  const raw = new Uint8Array(buffer, byteOffset, byteLength);
  return { tensor: { ...head, parameters: { binary_data_size: byteLength } }, raw };
}
