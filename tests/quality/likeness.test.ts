/** How well likeness by embedding agrees with people's judgement, and the static model with MiniLM. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddingModel } from '../../wasm-rust/pkg/inference/treeline_inference.js';
import { type LabelledPair, readLabelled } from './labelled.ts';
import { embed, MINILM, openModels, STATIC, withoutMiniLm } from './models.ts';
import { SeededRandom } from './random.ts';
import { cosine, readReferences } from './reference.ts';
import { spearman } from './spearman.ts';

/** Time to fetch the labelled sets on a slow line, and to embed them. */
const TIMEOUT_MS = 600_000;

/**
 * Floors of Spearman's coefficient, a little below what was measured (docs/BENCHMARKS.md). MiniLM in float reaches
 * 0.446 on SimLex, 0.729 on WordSim and 0.508 on Lee: what people judge is not only what the model was trained for.
 */
const FLOORS = {
  minilm: { simlex: 0.43, wordsim: 0.71, lee: 0.49 },
  static: { simlex: 0.48, wordsim: 0.7, lee: 0.46 },
} as const;

/** The static model against float MiniLM, on random pairs of the 1,000 sentences; most pairs have nothing in common. */
const AGREEMENT_FLOOR = 0.49;
const PAIRS = 20_000;
const SEED = 1;

function likenesses(model: EmbeddingModel, pairs: readonly LabelledPair[]): number[] {
  const texts = [...new Set(pairs.flatMap(({ left, right }) => [left, right]))];
  const vectors = new Map(embed(model, texts).map((vector, index) => [texts[index], vector]));
  const of = (text: string) => vectors.get(text) ?? new Float32Array();
  return pairs.map(({ left, right }) => cosine(of(left), of(right)));
}

/** Two different whole numbers below `count`. */
function differentIndices(random: SeededRandom, count: number): readonly [number, number] {
  const first = random.whole(0, count - 1);
  const other = random.whole(0, count - 2);
  return [first, other < first ? other : other + 1];
}

describe.skipIf(withoutMiniLm)('likeness as people judge it', () => {
  const models = { minilm: MINILM, static: STATIC };
  const names = ['minilm', 'static'] as const;
  const sets = ['simlex', 'wordsim', 'lee'] as const;
  let labelled: Awaited<ReturnType<typeof readLabelled>>;
  let opened: EmbeddingModel[];

  beforeAll(async () => {
    labelled = await readLabelled();
    opened = await openModels('relaxed', Object.values(models));
  }, TIMEOUT_MS);

  test('the labelled sets are whole', () => {
    expect(sets.map((set) => labelled[set].length)).toEqual([999, 353, (50 * 49) / 2]);
  });

  for (const [index, name] of names.entries()) {
    test.each(sets)(
      `is found by ${name} on %s`,
      (set) => {
        const model = opened[index];
        if (model === undefined) throw new Error('no model');
        const pairs = labelled[set];
        const judged = pairs.map(({ likeness }) => likeness);
        const coefficient = spearman(likenesses(model, pairs), judged);
        console.info(`${name}, ${set}: ${coefficient.toFixed(4)}`);
        expect(coefficient).toBeGreaterThanOrEqual(FLOORS[name][set]);
      },
      TIMEOUT_MS,
    );
  }
});

test('the static model orders pairs of sentences much as MiniLM does', async () => {
  const [model] = await openModels('relaxed', [STATIC]);
  if (model === undefined) throw new Error('no model');
  const references = readReferences();
  const vectors = embed(
    model,
    references.map(({ sentence }) => sentence),
  );
  const random = new SeededRandom(SEED);
  const pairs = Array.from({ length: PAIRS }, () => differentIndices(random, references.length));
  const empty = new Float32Array();
  const byStatic = pairs.map(([a, b]) => cosine(vectors[a] ?? empty, vectors[b] ?? empty));
  const byMiniLm = pairs.map(([a, b]) => cosine(references[a]?.embedding ?? empty, references[b]?.embedding ?? empty));
  const coefficient = spearman(byStatic, byMiniLm);
  console.info(`static against MiniLM, ${PAIRS} pairs, seed ${SEED}: ${coefficient.toFixed(4)}`);
  expect(coefficient).toBeGreaterThanOrEqual(AGREEMENT_FLOOR);
});
