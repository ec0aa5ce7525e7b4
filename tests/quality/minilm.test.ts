/** int8 MiniLM in WebAssembly against the float model, on 1,000 varied sentences. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddingModel } from '../../wasm-rust/pkg/inference/treeline_inference.js';
import { corpus, SENTENCES } from './corpus.ts';
import { embed, MINILM, openModels, withoutMiniLm } from './models.ts';
import { cosine, readReferences } from './reference.ts';

/** What the product promises. */
const COSINE_MEAN_LEAST = 0.99;
const COSINE_LEAST = 0.98;
const TOKENS_MAXIMUM = 256;
/** A thousand sentences take seconds, and minutes where the machine is busy. */
const TIMEOUT_MS = 300_000;

const references = readReferences();

test('the committed sentences are those that the generator makes', () => {
  expect(references.map(({ sentence }) => sentence)).toEqual(corpus());
  expect(references).toHaveLength(SENTENCES);
});

describe.skipIf(withoutMiniLm).each(['relaxed', 'plain'] as const)('MiniLM with %s SIMD', (build) => {
  let model: EmbeddingModel;

  beforeAll(async () => {
    const [opened] = await openModels(build, [MINILM]);
    if (opened === undefined) throw new Error('no model');
    model = opened;
  }, TIMEOUT_MS);

  test('has the tokens of the reference tokenizer, for every sentence', () => {
    for (const { sentence, ids } of references) expect([...model.tokenize(sentence)], sentence).toEqual([...ids]);
  });

  test(
    'is as close to the float model as promised, on average and at worst',
    () => {
      const cosines = references.map(({ sentence, embedding }) => {
        const [vector = new Float32Array()] = embed(model, [sentence]);
        return { sentence, cosine: cosine(vector, embedding) };
      });
      const mean = cosines.reduce((sum, one) => sum + one.cosine, 0) / cosines.length;
      const worst = cosines.reduce((least, one) => (one.cosine < least.cosine ? one : least));
      console.info(`${build}: cosine to float ${mean.toFixed(5)} on average, ${worst.cosine.toFixed(5)} at worst`);
      expect(mean).toBeGreaterThanOrEqual(COSINE_MEAN_LEAST);
      expect(worst.cosine, worst.sentence).toBeGreaterThanOrEqual(COSINE_LEAST);
    },
    TIMEOUT_MS,
  );

  test('gives each text of a batch exactly what it gives it alone', () => {
    const texts = references.filter((_, index) => index % 29 === 0).map(({ sentence }) => sentence);
    const together = embed(model, texts);
    for (const [index, text] of texts.entries()) expect(together[index], text).toEqual(embed(model, [text])[0]);
  });

  test('gives token ids exactly what it gives the text that they come from', () => {
    const some = references.filter((_, index) => index % 41 === 0);
    for (const { sentence, ids } of some) {
      const result = model.embedTokens(ids, Uint32Array.of(ids.length));
      expect(result.vectors, sentence).toEqual(embed(model, [sentence])[0]);
      result.free();
    }
  });

  test('gives vectors of length 1', () => {
    for (const vector of embed(model, ['one', 'a few words more', '😀'])) {
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
  });

  test('reads 256 tokens, says where it cut a longer text, and then reads what is left', () => {
    // Each word is one token; the two special tokens count.
    const words = (count: number) => Array.from({ length: count }, () => 'water').join(' ');
    const result = model.embed([words(TOKENS_MAXIMUM - 2), words(TOKENS_MAXIMUM - 1), words(5000)]);
    expect([...result.tokenCounts]).toEqual([TOKENS_MAXIMUM, TOKENS_MAXIMUM, TOKENS_MAXIMUM]);
    expect([...result.truncated]).toEqual([0, 1, 1]);
    result.free();
    const [fits, over] = embed(model, [words(TOKENS_MAXIMUM - 2), words(TOKENS_MAXIMUM - 1)]);
    expect(over).toEqual(fits);
  });

  test('refuses the empty string', () => {
    expect(() => model.embed(['something', ''])).toThrow(expect.objectContaining({ code: 'input_empty' }));
  });
});

test.skipIf(withoutMiniLm)(
  'both builds of the module give the same bits',
  async () => {
    const sentences = references.filter((_, index) => index % 10 === 0).map(({ sentence }) => sentence);
    const results: Float32Array[][] = [];
    for (const build of ['relaxed', 'plain'] as const) {
      const [model] = await openModels(build, [MINILM]);
      if (model === undefined) throw new Error('no model');
      results.push(embed(model, sentences));
    }
    expect(results[0]).toEqual(results[1]);
  },
  TIMEOUT_MS,
);
