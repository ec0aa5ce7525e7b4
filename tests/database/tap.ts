/** Reads the Test Anything Protocol, as pgTAP answers it. */

/** What a file of tests came to. */
export interface TapResult {
  readonly passed: number;
  /** The lines of what failed, with pgTAP's diagnosis below each. */
  readonly failures: readonly string[];
}

/** Reads the lines of one file. Fewer or more tests than planned, or no plan at all, are failures too. */
export function readTap(lines: readonly string[]): TapResult {
  const failures: string[] = [];
  let planned: number | null = null;
  let passed = 0;
  let ran = 0;
  let failing = false;
  for (const line of lines.flatMap((text) => text.split('\n'))) {
    const plan = /^1\.\.(\d+)/.exec(line);
    if (plan !== null) planned = Number(plan[1]);
    else if (/^ok \d+/.test(line)) {
      ran += 1;
      passed += 1;
      failing = false;
    } else if (/^not ok \d+/.test(line)) {
      ran += 1;
      failing = true;
      failures.push(line);
    } else if (failing && line.startsWith('#')) failures.push(line);
  }
  if (planned === null) failures.push('There is no plan.');
  else if (planned !== ran) failures.push(`${planned} tests were planned, ${ran} ran.`);
  return { passed, failures };
}
