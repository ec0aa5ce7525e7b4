/** The committed truth: 1,000 sentences, their token ids, and their embeddings by the float model. */
import { readFileSync } from 'node:fs';

/** Floats an embedding of MiniLM. */
export const DIMENSIONS = 384;

/** A sentence with what the float model makes of it. */
export interface Reference {
  readonly sentence: string;
  /** Ids after truncation, special tokens included. */
  readonly ids: Uint32Array;
  readonly embedding: Float32Array;
}

const vectors = new URL('../vectors/', import.meta.url);

/** All of `embeddings-1000.*`, in order. */
export function readReferences(): Reference[] {
  const sentences = JSON.parse(readFileSync(new URL('embeddings-1000.json', vectors), 'utf8')) as string[];
  const halves = uint16s(readFileSync(new URL('embeddings-1000.f16', vectors)));
  const tokens = uint16s(readFileSync(new URL('embeddings-1000.tokens.u16', vectors)));
  let at = 0;
  return sentences.map((sentence, index) => {
    const count = tokens[at] ?? 0;
    const ids = Uint32Array.from(tokens.subarray(at + 1, at + 1 + count));
    at += 1 + count;
    const row = halves.subarray(index * DIMENSIONS, (index + 1) * DIMENSIONS);
    return { sentence, ids, embedding: Float32Array.from(row, fromHalf) };
  });
}

function uint16s(bytes: Buffer): Uint16Array {
  return new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** The value of an IEEE 754 half: 1 sign bit, 5 of exponent, 10 of fraction. Embeddings have no infinity. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The cosine of the angle between two vectors. */
export function cosine(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let [product, leftSquare, rightSquare] = [0, 0, 0];
  for (let index = 0; index < left.length; index++) {
    const [a, b] = [left[index] ?? Number.NaN, right[index] ?? Number.NaN];
    product += a * b;
    leftSquare += a * a;
    rightSquare += b * b;
  }
  return product / Math.sqrt(leftSquare * rightSquare);
}
