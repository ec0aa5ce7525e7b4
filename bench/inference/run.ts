/**
 * `npm run bench:inference`: the in-isolate model against onnxruntime-web and native ONNX Runtime, in one run.
 *
 * All engines compute all-MiniLM-L6-v2 in int8 on one thread, for the same token ids. See `docs/BENCHMARKS.md` for what
 * is measured and how, and for the figures of one machine.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leastAgreement } from './agreement.ts';
import { coldStart } from './cold-start.ts';
import {
  type Entrant,
  emptyWorker,
  nativeEntrant,
  treelineEntrants,
  webEntrants,
  workerCommand,
} from './contenders.ts';
import type { Workload } from './engine.ts';
import { machine } from './machine.ts';
import { type Entry, measure, type Pace } from './measure.ts';
import { HERE, MODEL_DIRECTORY, ONNX_MODEL, PYTHON_ENVIRONMENT, WORKERD, WORKSPACE } from './places.ts';
import { peakBytes } from './process.ts';
import { type ColdRow, markdown, type Report, type Row } from './report.ts';
import { sizes } from './sizes.ts';

const HELP = `Usage: npm run bench:inference -- [options]

  --rounds N      rounds in which every engine takes its turn (default 9)
  --quick         few and short rounds, to see that everything runs
  --no-native     without native ONNX Runtime (needs Python then only to make the ONNX file, once)
  --no-workerd    without workerd
  --plain         also the product's build for hosts without relaxed SIMD
  --no-cold       without cold start
  --python PATH   a Python that has the packages of bench/inference/requirements.txt
  --output PATH   where the JSON goes (default .treeline/bench/inference.json); the table goes beside it as .md
`;

const { values: options } = parseArgs({
  allowNegative: true,
  options: {
    help: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '9' },
    quick: { type: 'boolean', default: false },
    native: { type: 'boolean', default: true },
    workerd: { type: 'boolean', default: true },
    cold: { type: 'boolean', default: true },
    plain: { type: 'boolean', default: false },
    python: { type: 'string' },
    output: { type: 'string', default: join(WORKSPACE, 'inference.json') },
  },
});

const pace: Pace = options.quick
  ? { rounds: 2, blockMs: 100, warmUpMs: 300 }
  : { rounds: Number(options.rounds), blockMs: 400, warmUpMs: 1500 };

/** Fresh processes whose first answer is timed. */
const COLD_STARTS = options.quick ? 2 : 7;

/** The Python to use; makes an environment with the pinned packages where none was named. */
function python(): string {
  if (options.python !== undefined) return options.python;
  const interpreter = join(PYTHON_ENVIRONMENT, 'bin/python');
  if (!existsSync(interpreter)) {
    say('Making a Python environment for the peers');
    execFileSync('python3', ['-m', 'venv', PYTHON_ENVIRONMENT], { stdio: 'inherit' });
    const requirements = join(HERE, 'requirements.txt');
    execFileSync(interpreter, ['-m', 'pip', 'install', '--quiet', '-r', requirements], { stdio: 'inherit' });
  }
  return interpreter;
}

/** Makes the peers' model file from the float weights, once. */
function makeOnnxModel(): void {
  if (existsSync(ONNX_MODEL)) return;
  if (!existsSync(join(MODEL_DIRECTORY, 'model.safetensors'))) {
    throw new Error(`${MODEL_DIRECTORY} has no model.safetensors: run \`npm run models\` first.`);
  }
  say('Quantising the model for the peers');
  const env = { ...process.env, TREELINE_MODEL_DIRECTORY: MODEL_DIRECTORY };
  execFileSync(python(), ['-B', join(HERE, 'reference.py'), 'onnx'], { stdio: ['ignore', 'ignore', 'inherit'], env });
}

function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

function entrants(): Entrant[] {
  const all = [...treelineEntrants('relaxed'), ...(options.plain ? treelineEntrants('plain') : []), ...webEntrants];
  const chosen = all.filter((entrant) => options.workerd || entrant.host !== 'workerd');
  return options.native ? [...chosen, nativeEntrant(python())] : chosen;
}

async function measureAll(chosen: readonly Entrant[], workloads: readonly Workload[]): Promise<Row[]> {
  const [first] = workloads;
  if (first === undefined) throw new Error('no workload');
  const started = [];
  try {
    for (const entrant of chosen) started.push({ entrant, contender: await entrant.start(first) });
    const rows: Row[] = [];
    for (const workload of workloads) {
      const entries: (Entry & { entrant: Entrant })[] = started.flatMap(({ entrant, contender }) =>
        entrant.forms
          .filter((form) => form !== 'static' || workload === first)
          .map((form) => ({ entrant, contender, workload, form })),
      );
      say(`${workload.name}: ${entries.length} contenders, ${pace.rounds} rounds`);
      const costs = await measure(entries, pace, () => process.stderr.write('.'));
      say('');
      for (const [index, { entrant, form }] of entries.entries()) {
        const cost = costs[index];
        if (cost === undefined) continue;
        rows.push({ engine: entrant.engine, host: entrant.host, form, workload: workload.name, cost, peakBytes: null });
      }
    }
    const peaks = new Map(started.map(({ entrant, contender }) => [entrant, peakBytes(contender.pid)]));
    return rows.map((row) => {
      const entrant = chosen.find((one) => one.engine === row.engine && one.host === row.host);
      return { ...row, peakBytes: (entrant && peaks.get(entrant)) ?? null };
    });
  } finally {
    for (const { contender } of started) await contender.stop();
  }
}

async function measureCold(chosen: readonly Entrant[], first: Workload): Promise<ColdRow[]> {
  const sources = [
    { engine: 'empty', worker: emptyWorker },
    ...chosen.flatMap(({ engine, worker }) => (worker === null ? [] : [{ engine, worker }])),
  ];
  const rows: ColdRow[] = [];
  for (const { engine, worker } of sources) {
    say(`cold start of ${engine}`);
    const { args, address } = await workerCommand(worker);
    const order = { workload: first, form: 'ids', iterations: 1 } as const;
    rows.push({ engine, ...(await coldStart(WORKERD, args, address, order, COLD_STARTS)) });
  }
  return rows;
}

async function main(): Promise<void> {
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  mkdirSync(WORKSPACE, { recursive: true });
  makeOnnxModel();
  const workloads = JSON.parse(readFileSync(join(HERE, 'workloads.json'), 'utf8')) as Workload[];
  const chosen = entrants();
  const rows = await measureAll(chosen, workloads);
  const agreement = leastAgreement(rows);
  const [first] = workloads;
  const cold = options.cold && options.workerd && first !== undefined ? await measureCold(chosen, first) : [];
  const report: Report = { machine: machine(), agreement, rows, cold, sizes: sizes() };
  writeFileSync(options.output, `${JSON.stringify(report, null, 1)}\n`);
  const table = markdown(report);
  writeFileSync(options.output.replace(/(\.json)?$/, '.md'), table);
  process.stdout.write(table);
}

await main();
