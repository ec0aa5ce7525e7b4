/**
 * Problems with proposers: what a model would answer, afresh or from an answer before, and what the answer is worth.
 * Four are numbers alone; one is the numbers game that people play.
 */
import type { Chance } from './chance.ts';
import { countdown } from './countdown.ts';

/** A problem for answers of one kind. */
export interface Problem<Answer> {
  readonly name: string;
  readonly about: string;
  readonly arms: number;
  /** The problem of a seed, where seeds have problems of their own. */
  propose(seed: number, parent: Answer | null, arm: number, chance: Chance): Answer;
  /** What an answer is worth, 0 to 1. */
  worth(seed: number, answer: Answer): number;
  /** Standard deviation of the noise between the worth and the score that a search sees. */
  readonly noise: number;
}

/** A worth, and the worth that refining can lead to. */
interface Draft {
  readonly worth: number;
  readonly ceiling: number;
}

const held = (value: number): number => Math.min(1, Math.max(0, value));
const worth = (_seed: number, draft: Draft): number => draft.worth;

const deepening: Problem<Draft> = {
  name: 'deepening',
  about: 'first answers are poor, most refinements help a little',
  arms: 1,
  noise: 0.02,
  worth,
  propose(_seed, parent, _arm, chance) {
    if (parent === null) return { worth: held(0.15 + 0.05 * chance.normal()), ceiling: 1 };
    const step = chance.uniform() < 0.7 ? 0.06 * chance.uniform() : -0.1 * chance.uniform();
    return { worth: held(parent.worth + step), ceiling: 1 };
  },
};

const widening: Problem<Draft> = {
  name: 'widening',
  about: 'first answers are seldom good, refinements spoil them',
  arms: 1,
  noise: 0.02,
  worth,
  propose(_seed, parent, _arm, chance) {
    if (parent === null) return { worth: held(0.9 * chance.uniform() ** 5), ceiling: 1 };
    return { worth: held(parent.worth * (0.3 + 0.65 * chance.uniform())), ceiling: 1 };
  },
};

const mixed: Problem<Draft> = {
  name: 'mixed',
  about: 'each first answer has a ceiling, which refining approaches',
  arms: 1,
  noise: 0.05,
  worth,
  propose(_seed, parent, _arm, chance) {
    if (parent === null) {
      const ceiling = held(0.45 + 0.18 * chance.normal());
      return { worth: ceiling * (0.3 + 0.4 * chance.uniform()), ceiling };
    }
    const towards = (parent.ceiling - parent.worth) * 0.4 * chance.uniform();
    return { worth: held(parent.worth + towards + 0.02 * chance.normal()), ceiling: parent.ceiling };
  },
};

const models: Problem<Draft> = {
  name: 'models',
  about: 'one model answers well, another refines well, a third does neither',
  arms: 3,
  noise: 0.03,
  worth,
  propose(_seed, parent, arm, chance) {
    const first = [0.45, 0.25, 0.2][arm] ?? 0;
    if (parent === null) return { worth: held(first + 0.08 * chance.normal()), ceiling: 1 };
    const helps = [0.35, 0.7, 0.3][arm] ?? 0;
    const step = chance.uniform() < helps ? 0.06 * chance.uniform() : -0.12 * chance.uniform();
    return { worth: held(parent.worth + step), ceiling: 1 };
  },
};

// Answers are handed back to the problem that made them, so their kind can be forgotten here.
export const problems = [deepening, widening, mixed, models, countdown] as unknown as readonly Problem<unknown>[];
