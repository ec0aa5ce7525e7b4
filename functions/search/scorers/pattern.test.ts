import { expect, test } from 'vitest';
import { seededRandom } from '../../../tests/support/ports.ts';
import { Pattern, PatternRefused, patternInstructionsMax } from './pattern.ts';

test.each([
  ['abc', 'xxabcx', true],
  ['^abc$', 'abcd', false],
  ['a|b|', '', true],
  ['(ab)+c', 'ababc', true],
  ['a{2,3}b', 'ab', false],
  ['^a{2,3}$', 'aaaa', false],
  ['^a{2,}$', 'aaaaa', true],
  ['[^0-9]+', '123', false],
  ['^[\\w.-]+@[\\w-]+\\.[a-z]{2,}$', 'a.b@c-d.org', true],
  ['\\bcat\\b', 'concatenate', false],
  ['\\Bcat', 'concat', true],
  ['^\\d{4}-\\d{2}$', '2026-11', true],
  ['^.$', '😀', true],
  ['^(?<year>\\d+)$', '42', true],
  ['[]', 'a', false],
  ['[\\]a-]', '-', true],
  ['\\u0041', 'A', true],
  ['^(a*)*$', 'aaaab', false],
])('%s in %s: %s', (pattern, text, expected) => {
  expect(new Pattern(pattern).test(text)).toBe(expected);
  expect(new RegExp(pattern, 'u'.slice(0, pattern.includes('\\]a-') ? 0 : 1)).test(text)).toBe(expected);
});

test('it agrees with JavaScript’s engine on 3,000 made-up patterns', () => {
  const seed = 20_261_125;
  const random = seededRandom(seed);
  const pick = (from: readonly string[]) => from[Math.floor(random.fraction() * from.length)] ?? '';
  const part = (depth: number): string => {
    const atom =
      depth > 0 && random.fraction() < 0.4
        ? `(${either(depth - 1)})`
        : pick(['a', 'b', '[ab]', '[^a]', '.', '\\w', '\\b', '^', '$']);
    const isAssertion = ['\\b', '^', '$'].includes(atom);
    return atom + (isAssertion ? '' : pick(['', '', '*', '+', '?', '{1,2}', '*?']));
  };
  const either = (depth: number): string =>
    Array.from({ length: 1 + Math.floor(random.fraction() * 2) }, () => part(depth) + part(depth)).join('|');
  for (let made = 0; made < 3_000; made += 1) {
    const pattern = either(2);
    const text = Array.from({ length: Math.floor(random.fraction() * 8) }, () => pick(['a', 'b', 'c', ' '])).join('');
    expect(new Pattern(pattern).test(text), `seed ${seed}: /${pattern}/ in "${text}"`).toBe(
      new RegExp(pattern).test(text),
    );
  }
});

test('upper and lower case are one where that is wished', () => {
  expect(new Pattern('straße', true).test('STRAßE')).toBe(true);
  expect(new Pattern('[a-f]+$', true).test('BEEF')).toBe(true);
  expect(new Pattern('beef').test('BEEF')).toBe(false);
});

test.each([
  ['(', 'no )'],
  [')', 'no ('],
  ['*a', 'nothing before'],
  ['(?=a)', 'look-around'],
  ['(?<!a)', 'look-around'],
  ['(a)\\1', 'back references'],
  ['\\p{L}', '\\p'],
  ['[b-a]', 'out of order'],
  ['a{3,2}', 'out of order'],
  ['[a', 'too early'],
  ['(a{999}){999}', 'too large'],
  ['('.repeat(60), 'deep'],
  ['a'.repeat(501), 'at most'],
])('%s is refused with its reason', (pattern, reason) => {
  expect(() => new Pattern(pattern)).toThrow(PatternRefused);
  expect(() => new Pattern(pattern)).toThrow(reason);
});

test('what makes a backtracking engine stall for ever is done in a bounded number of steps', () => {
  const text = 'a'.repeat(20_000);
  expect(new Pattern('^(a+)+$').test(`${text.slice(1)}b`)).toBe(false);
  expect(new Pattern('(a|a)*b').test(text)).toBe(false);
  expect(patternInstructionsMax * text.length).toBeLessThanOrEqual(20_000_000);
});
