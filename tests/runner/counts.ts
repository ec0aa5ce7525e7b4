/** How many tests passed and failed, read from what each tool prints. */

/** The count of one stage. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Reads a tool's output. `exitCode` is what it ended with. */
export type CountReader = (output: string, exitCode: number) => Counts;

/** A tool that ended badly failed at least once, whatever it printed (a build that broke prints no test). */
const atLeast = ({ passed, failed }: Counts, exitCode: number): Counts => ({
  passed,
  failed: exitCode === 0 ? failed : Math.max(1, failed),
});

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** The sum over every match of `pattern`'s first group. */
const total = (output: string, pattern: RegExp): number =>
  sum([...output.matchAll(pattern)].map(([, number]) => Number(number)));

/** A command that is one check by itself. */
export const oneCheck: CountReader = (_output, exitCode) =>
  exitCode === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };

/** Vitest's summary, `Tests  1 failed | 23 passed (24)`. Colours must be off. */
export const vitestCounts: CountReader = (output, exitCode) => {
  const lines = output.split('\n').filter((line) => /^\s*Tests\s/.test(line));
  const passed = sum(lines.map((line) => Number(/(\d+) passed/.exec(line)?.[1] ?? 0)));
  const failed = sum(lines.map((line) => Number(/(\d+) failed/.exec(line)?.[1] ?? 0)));
  return atLeast({ passed, failed }, exitCode);
};

/** Cargo's `test result: ok. 12 passed; 0 failed; …`, one a binary. */
export const cargoCounts: CountReader = (output, exitCode) => {
  const passed = total(output, /^test result: \w+\. (\d+) passed/gm);
  return atLeast({ passed, failed: total(output, /^test result: .* (\d+) failed/gm) }, exitCode);
};

/** `go test -json`: an event a line, those of tests with a `Test`. */
export const goCounts: CountReader = (output, exitCode) => {
  const ended = (action: string) =>
    output.split('\n').filter((line) => line.includes(`"Action":"${action}"`) && line.includes('"Test":"'));
  return atLeast({ passed: ended('pass').length, failed: ended('fail').length }, exitCode);
};

/** A last line such as `3 failed, 12 passed`, of our own scripts and of pytest; `12 database tests passed` too. */
export const summaryCounts: CountReader = (output, exitCode) => {
  const passedIn = /(\d+) (?:[a-z]+ )*passed/;
  const line = output.split('\n').findLast((one) => passedIn.test(one)) ?? '';
  const passed = Number(passedIn.exec(line)?.[1] ?? 0);
  return atLeast({ passed, failed: Number(/(\d+) failed/.exec(line)?.[1] ?? 0) }, exitCode);
};
