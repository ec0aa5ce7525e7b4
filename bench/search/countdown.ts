/**
 * The numbers game of the television programme Countdown: reach a target from six numbers by +, −, × and ÷, each number
 * used at most once, in whole numbers above zero. The proposer plays at random, as a weak model does; refining an
 * answer keeps the first steps of it and plays the rest anew.
 */
import { type Chance, chanceOf } from './chance.ts';
import type { Problem } from './problems.ts';

/** Two numbers made one: those at these places of the table are taken away, the result is put at its end. */
interface Step {
  readonly left: number;
  readonly right: number;
  readonly operator: '+' | '-' | '*' | '/';
}

interface Play {
  readonly steps: readonly Step[];
  /** The number nearest to the target that was ever on the table. */
  readonly nearest: number;
}

const large = [25, 50, 75, 100];
const numbersEach = 6;
const operators = ['+', '-', '*', '/'] as const;
/** Calls' chance is keyed by their number; the puzzle's own by one that no call has. */
const puzzleCall = -1;
/** A distance at which an answer is worth half. */
const halfAt = 10;

/** The numbers and the target of a seed: two large numbers, four from 1 to 10. */
export function puzzle(seed: number): { numbers: number[]; target: number } {
  const chance = chanceOf(seed, puzzleCall);
  const small = () => 1 + chance.below(10);
  const first = chance.below(large.length);
  const second = (first + 1 + chance.below(large.length - 1)) % large.length;
  const numbers = [large[first] ?? 0, large[second] ?? 0, ...Array.from({ length: numbersEach - 2 }, small)];
  return { numbers, target: 101 + chance.below(899) };
}

/** The result of a step, or null where the rules forbid it. */
function apply(table: readonly number[], { left, right, operator }: Step): number[] | null {
  const [a, b] = [table[left], table[right]];
  if (a === undefined || b === undefined || left === right) return null;
  const results = { '+': a + b, '-': a - b, '*': a * b, '/': a / b };
  const result = results[operator];
  if (result <= 0 || !Number.isInteger(result)) return null;
  return [...table.filter((_, place) => place !== left && place !== right), result];
}

function play(seed: number, kept: readonly Step[], chance: Chance): Play {
  const { numbers, target } = puzzle(seed);
  let table: number[] = numbers;
  let nearest = 0;
  const steps: Step[] = [];
  const look = () => {
    for (const number of table) if (Math.abs(number - target) < Math.abs(nearest - target)) nearest = number;
  };
  look();
  while (table.length > 1) {
    const step = kept[steps.length] ?? randomStep(table.length, chance);
    const next = apply(table, step);
    if (next === null) continue;
    steps.push(step);
    table = next;
    look();
  }
  return { steps, nearest };
}

function randomStep(length: number, chance: Chance): Step {
  const operator = operators[chance.below(operators.length)] ?? '+';
  return { left: chance.below(length), right: chance.below(length), operator };
}

/** The game as a problem. */
export const countdown: Problem<Play> = {
  name: 'countdown',
  about: 'the numbers game; refining keeps the first steps and plays the rest anew',
  arms: 1,
  noise: 0,
  propose(seed, parent, _arm, chance) {
    const kept = parent === null ? [] : parent.steps.slice(0, 1 + chance.below(parent.steps.length - 1));
    return play(seed, kept, chance);
  },
  worth(seed, { nearest }) {
    return halfAt / (halfAt + Math.abs(nearest - puzzle(seed).target));
  },
};
