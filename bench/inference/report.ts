/** The result as tables in Markdown. */
import type { Form } from './engine.ts';
import type { Cost } from './measure.ts';
import type { Size } from './sizes.ts';

export interface Row {
  readonly engine: string;
  readonly host: string;
  readonly form: Form;
  readonly workload: string;
  readonly cost: Cost;
  /** Most memory that the process ever held, all workloads together. */
  readonly peakBytes: number | null;
}

export interface ColdRow {
  readonly engine: string;
  readonly firstAnswerMs: number;
  readonly cpuMs: number | null;
  readonly peakBytes: number | null;
}

export interface Report {
  readonly machine: string;
  /** The least cosine between two engines' embeddings of one input. */
  readonly agreement: number;
  readonly rows: readonly Row[];
  readonly cold: readonly ColdRow[];
  readonly sizes: readonly Size[];
}

/** All tables. */
export function markdown(report: Report): string {
  const agreement = `Engines agree: the least cosine between their embeddings is ${report.agreement.toFixed(4)}.\n`;
  const parts = [`Machine: ${report.machine}\n`, agreement, costs(report), ratios(report), cold(report), sizes(report)];
  return parts.filter((part) => part !== '').join('\n');
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  rows.length === 0
    ? ''
    : [head, head.map((_, index) => (index < 2 ? '---' : '---:')), ...rows]
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
    ['input', 'engine', 'wall, median', 'wall, least', 'CPU, mean', 'WebAssembly memory', 'process, peak'],
    rows.map((row) => [
      `${row.workload}, ${FORMS[row.form]}`,
      `${row.engine}, ${row.host}`,
      milliseconds(row.cost.wallMs),
      milliseconds(row.cost.wallMsLeast),
      milliseconds(row.cost.cpuMs),
      row.cost.memoryBytes === 0 ? '–' : megabytes(row.cost.memoryBytes),
      megabytes(row.peakBytes),
    ]),
  );
}

/** How many times faster than onnxruntime-web on the same host, and slower than native ONNX Runtime. */
function ratios({ rows }: Report): string {
  const ids = rows.filter((row) => row.form === 'ids');
  const find = (workload: string, engine: string, host: string) =>
    ids.find((row) => row.workload === workload && row.engine === engine && row.host === host)?.cost;
  const own = ids.filter((row) => row.engine.startsWith('treeline'));
  return table(
    ['input', 'engine', 'onnxruntime-web / ours', 'ours / native ONNX Runtime'],
    own.map(({ workload, engine, host, cost }) => [
      workload,
      `${engine}, ${host}`,
      ratio(find(workload, 'onnxruntime-web', host), cost),
      ratio(cost, find(workload, 'onnxruntime', 'native')),
    ]),
  );
}

/** By wall time and by processor time: they differ where the machine has other work. */
function ratio(above: Cost | undefined, below: Cost | undefined): string {
  if (above === undefined || below === undefined) return '–';
  const wall = (above.wallMs / below.wallMs).toFixed(2);
  return above.cpuMs === null || below.cpuMs === null
    ? wall
    : `${wall} (CPU ${(above.cpuMs / below.cpuMs).toFixed(2)})`;
}

function cold({ cold: rows }: Report): string {
  const empty = rows.find((row) => row.engine === 'empty')?.firstAnswerMs ?? 0;
  return table(
    ['first answer of a fresh workerd', 'host', 'from process start', 'less an empty worker', 'CPU', 'process, peak'],
    rows.map((row) => [
      row.engine,
      'workerd',
      milliseconds(row.firstAnswerMs),
      row.engine === 'empty' ? '–' : milliseconds(row.firstAnswerMs - empty),
      milliseconds(row.cpuMs),
      megabytes(row.peakBytes),
    ]),
  );
}

function sizes({ sizes: rows }: Report): string {
  const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(0)} kB`;
  return table(
    ['file', '', 'raw', 'gzip'],
    rows.map(({ what, raw, gzip }) => {
      const [engine = '', file = ''] = what.split(', ');
      return [engine, file, kilobytes(raw), kilobytes(gzip)];
    }),
  );
}
