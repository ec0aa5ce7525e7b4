import { expect, it } from 'vitest';
import { readTap } from './tap.ts';

it('counts what passed', () => {
  expect(readTap(['1..2', 'ok 1 - a', 'ok 2 - b'])).toEqual({ passed: 2, failures: [] });
});

it('keeps a failure with its diagnosis', () => {
  const { passed, failures } = readTap([
    '1..2',
    'not ok 1 - a\n# Failed test 1: "a"\n#   have: 1',
    'ok 2 - b',
    '# note',
  ]);
  expect(passed).toBe(1);
  expect(failures).toEqual(['not ok 1 - a', '# Failed test 1: "a"', '#   have: 1']);
});

it.each([
  { lines: ['1..2', 'ok 1'], reason: '2 tests were planned, 1 ran.' },
  { lines: ['ok 1'], reason: 'There is no plan.' },
  { lines: [], reason: 'There is no plan.' },
])('takes $reason for a failure', ({ lines, reason }) => {
  expect(readTap(lines).failures).toEqual([reason]);
});
