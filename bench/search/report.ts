/** The results as tables in Markdown. */
import { budgets, type Curve } from './quality.ts';
import type { SpeedRow } from './speed.ts';

/** All that was measured. */
export interface Report {
  readonly machine: string;
  readonly seeds: number;
  readonly speed: readonly SpeedRow[];
  /** A snapshot of 10,000 nodes: its bytes, and milliseconds to load it. */
  readonly snapshot: { readonly bytes: number; readonly loadMs: number };
  readonly curves: readonly Curve[];
}

/** The name of the peer's engines begins with this. */
export const peerName = 'TreeQuest';

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return row(head) + row(head.map((_, index) => (index === 0 ? '---' : '---:'))) + rows.map(row).join('');
}

function microseconds(value: number | null): string {
  if (value === null) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} s`;
  return value >= 1000 ? `${(value / 1000).toFixed(1)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} µs`;
}

function speed(rows: readonly SpeedRow[]): string {
  return table(
    ['ask with its tell', 'arms', 'nodes', 'ours, WebAssembly', 'ours, native', `${peerName}`, 'its processor time'],
    rows.map((one) => [
      one.algorithm,
      String(one.arms),
      one.nodes.toLocaleString('en'),
      ...[one.wasm, one.native, one.peer, one.peerProcessor].map(microseconds),
    ]),
  );
}

function quality(curves: readonly Curve[], problem: string): string {
  const own = curves.filter((curve) => curve.problem === problem);
  return table(
    [problem, ...budgets.map(String)],
    own.map(({ engine, points }) => [
      engine,
      ...points.map(({ mean, halfWidth }) => `${mean.toFixed(3)} ±${halfWidth.toFixed(3)}`),
    ]),
  );
}

/** All tables. */
export function markdown(report: Report): string {
  const { bytes, loadMs } = report.snapshot;
  const problems = [...new Set(report.curves.map(({ problem }) => problem))];
  return [
    `Machine: ${report.machine}\n`,
    speed(report.speed),
    `A snapshot of 10,000 nodes has ${Math.round(bytes / 1000)} kB and loads in ${loadMs.toFixed(1)} ms (WebAssembly).\n`,
    `Worth of the best-scored answer after so many calls, mean of ${report.seeds} seeds ± half the 95 % interval:\n`,
    ...problems.map((problem) => quality(report.curves, problem)),
  ].join('\n');
}
