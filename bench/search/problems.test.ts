import { expect, test } from 'vitest';
import { chanceOf } from './chance.ts';
import { puzzle } from './countdown.ts';
import { problems } from './problems.ts';
import { estimate } from './quality.ts';

test.each(problems)(
  '$name proposes the same for the same call, and every answer is worth something from 0 to 1',
  (problem) => {
    for (let seed = 0; seed < 5; seed++) {
      let parent: unknown = null;
      for (let call = 0; call < 20; call++) {
        const arm = call % problem.arms;
        const answer = problem.propose(seed, parent, arm, chanceOf(seed, call));
        expect(problem.propose(seed, parent, arm, chanceOf(seed, call))).toEqual(answer);
        const worth = problem.worth(seed, answer);
        expect(worth).toBeGreaterThanOrEqual(0);
        expect(worth).toBeLessThanOrEqual(1);
        parent = answer;
      }
    }
  },
);

test('a puzzle has two large numbers, four small ones and a target of three digits', () => {
  for (let seed = 0; seed < 50; seed++) {
    const { numbers, target } = puzzle(seed);
    expect(numbers.filter((number) => number >= 25)).toHaveLength(2);
    expect(numbers.filter((number) => number >= 1 && number <= 10)).toHaveLength(4);
    expect(target).toBeGreaterThan(100);
    expect(target).toBeLessThan(1000);
  }
});

test('an interval is 1.96 standard errors wide on each side', () => {
  const { mean, halfWidth } = estimate([0, 1, 0, 1]);
  expect(mean).toBe(0.5);
  expect(halfWidth).toBeCloseTo(1.96 * Math.sqrt(1 / 3 / 4), 10);
});
