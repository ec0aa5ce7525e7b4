import { expect, test } from 'vitest';
import { type CountReader, cargoCounts, goCounts, oneCheck, summaryCounts, vitestCounts } from './counts.ts';

const goEvents = [
  '{"Action":"run","Package":"p","Test":"TestA"}',
  '{"Action":"output","Package":"p","Test":"TestA","Output":"\\"Action\\":\\"pass\\""}',
  '{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}',
  '{"Action":"fail","Package":"p","Test":"TestB"}',
  '{"Action":"fail","Package":"p"}',
].join('\n');

test.each<[string, CountReader, string, number, [number, number]]>([
  ['vitest, all passed', vitestCounts, ' Test Files  2 passed (2)\n      Tests  23 passed (23)\n', 0, [23, 0]],
  ['vitest, some failed', vitestCounts, '      Tests  2 failed | 21 passed | 1 skipped (24)\n', 1, [21, 2]],
  ['vitest, a file that cannot be read', vitestCounts, ' Test Files  1 failed (1)\n      Tests  no tests\n', 1, [0, 1]],
  [
    'cargo, several binaries',
    cargoCounts,
    'test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: FAILED. 4 passed; 2 failed;',
    101,
    [7, 2],
  ],
  ['cargo, a build that broke', cargoCounts, 'error[E0308]: mismatched types', 101, [0, 1]],
  ['go', goCounts, goEvents, 1, [1, 1]],
  ['our own scripts', summaryCounts, '12 tests passed\n20 database tests passed', 0, [20, 0]],
  ['pytest', summaryCounts, '==== 3 failed, 5 passed in 1.2s ====', 1, [5, 3]],
  ['a script that ended badly in silence', summaryCounts, '20 tests passed', 1, [20, 1]],
  ['a check', oneCheck, '99 failed', 0, [1, 0]],
  ['a check that failed', oneCheck, '', 2, [0, 1]],
])('%s', (_, read, output, exitCode, [passed, failed]) => {
  expect(read(output, exitCode)).toEqual({ passed, failed });
});
