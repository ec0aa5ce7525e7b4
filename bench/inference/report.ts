/** The result as tables in Markdown. */
import type { Form } from './engine.ts';
import type { Cost } from './measure.ts';

export interface Row {
  readonly engine: string;
  readonly host: string;
  readonly form: Form;
  readonly workload: string;
  readonly cost: Cost;
  /** Most memory that the process ever held, all workloads together. */
  readonly peakBytes?: number | null;
}

export interface ColdRow {
  readonly engine: string;
  readonly firstAnswerMs: number;
  readonly peakBytes: number | null;
}

export interface Report {
  readonly rows: readonly Row[];
  readonly cold: readonly ColdRow[];
}

/** All tables. */
export function markdown(report: Report): string {
  return `${[costs(report), coldTable(report)].filter((table) => table !== '').join('\n')}\n`;
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |\n`)
    .join('');

const milliseconds = (value: number | null): string => {
  if (value === null) return '–';
  return value < 0.1 ? `${(value * 1000).toFixed(2)} µs` : `${value.toFixed(value < 10 ? 2 : 1)} ms`;
};

const megabytes = (bytes: number | null): string => (bytes === null ? '–' : `${Math.round(bytes / 1e6)} MB`);

const FORMS: Readonly<Record<Form, string>> = {
  ids: 'token ids',
  texts: 'text',
  static: 'text, static model',
};

function costs({ rows }: Report): string {
  return table(
    ['input', 'engine', 'wall, median', 'wall, least', 'CPU, mean', 'WebAssembly memory', 'peak of the process'],
    rows.map((row) => [
      `${row.workload}, ${FORMS[row.form]}`,
      `${row.engine}, ${row.host}`,
      milliseconds(row.cost.wallMs),
      milliseconds(row.cost.wallMsLeast),
      milliseconds(row.cost.cpuMs),
      row.cost.memoryBytes === 0 ? '–' : megabytes(row.cost.memoryBytes),
      megabytes(row.peakBytes ?? null),
    ]),
  );
}

function coldTable({ cold }: Report): string {
  if (cold.length === 0) return '';
  const empty = cold.find((row) => row.engine === 'empty')?.firstAnswerMs ?? 0;
  return table(
    ['first answer of a fresh workerd', 'from process start', 'less an empty worker', 'peak of the process'],
    cold.map((row) => [
      row.engine,
      milliseconds(row.firstAnswerMs),
      row.engine === 'empty' ? '–' : milliseconds(row.firstAnswerMs - empty),
      megabytes(row.peakBytes),
    ]),
  );
}
