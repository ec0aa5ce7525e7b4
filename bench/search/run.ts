/**
 * `npm run bench:search`: the search core against TreeQuest in one run: what a decision costs, and how good the best
 * answer is after so many calls. See `docs/BENCHMARKS.md` for how, and for the figures of one machine.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../inference/measure.ts';
import { type Engine, PeerProcess, treeline, treeQuest } from './engine.ts';
import { openModule, type SearchModule } from './module.ts';
import { plot } from './plot.ts';
import { type Problem, problems } from './problems.ts';
import { budgets, type Curve, curve } from './quality.ts';
import { markdown, peerName, type Report } from './report.ts';
import { buildNative, nativeCost, peerCost, type SpeedCase, type SpeedRow, wasmCost } from './speed.ts';

const HELP = `Usage: npm run bench:search -- [options]

  --seeds N       seeds of each problem (default 50)
  --problem NAME  that problem alone; may be given several times
  --beta          also TreeQuest with Beta posteriors, which takes it twice as long
  --quick         few seeds and small trees, to see that everything runs
  --mixed         also TreeQuest's mixed model, at two sizes: installs PyMC and JAX; minutes
  --no-peer       without TreeQuest (needs no Python then)
  --no-native     without the native build
  --no-speed      without the times
  --no-quality    without the curves
  --python PATH   a Python that has the packages of bench/search/requirements.txt
  --output PATH   where the JSON goes (default .treeline/bench/search.json); the tables go beside it as .md, the
                  picture as .svg
`;

const { values: options } = parseArgs({
  allowNegative: true,
  options: {
    help: { type: 'boolean', default: false },
    seeds: { type: 'string' },
    problem: { type: 'string', multiple: true },
    beta: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    mixed: { type: 'boolean', default: false },
    peer: { type: 'boolean', default: true },
    native: { type: 'boolean', default: true },
    speed: { type: 'boolean', default: true },
    quality: { type: 'boolean', default: true },
    python: { type: 'string' },
    output: { type: 'string' },
  },
});

const here = fileURLToPath(new URL('.', import.meta.url));
const repository = fileURLToPath(new URL('../..', import.meta.url));
const workspace = join(repository, '.treeline/bench');
const output = options.output ?? join(workspace, 'search.json');
const seeds = Number(options.seeds ?? (options.quick ? 5 : 50));
const budgetMax = options.quick ? 32 : (budgets[budgets.length - 1] ?? 512);

/** Nodes at which the peer's mixed model is timed, once at each: a decision takes seconds. */
const peerMixedNodes = [10, 1000];

const speedCases: SpeedCase[] = [
  ...sized('abmcts-a', 1, [10, 100, 1000, 10_000]),
  ...sized('abmcts-a', 3, [10, 100, 1000, 10_000]),
  ...sized('abmcts-m', 1, [10, 100, 1000, 10_000]),
  ...sized('abmcts-m', 3, [10, 1000]),
].filter(({ nodes }) => !options.quick || nodes <= 100);

function sized(algorithm: SpeedCase['algorithm'], arms: number, sizes: readonly number[]): SpeedCase[] {
  return sizes.map((nodes) => ({ algorithm, arms, nodes, decisions: Math.max(20, Math.min(200, nodes / 5)) }));
}

function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

/** The Python to use; makes an environment with the pinned packages where none was named. */
function python(): string {
  if (options.python !== undefined) return options.python;
  const kind = options.mixed ? 'search-mixed' : 'search';
  const environment = join(workspace, `${kind}-venv`);
  const interpreter = join(environment, 'bin/python');
  if (!existsSync(interpreter)) {
    say('Making a Python environment for the peer');
    execFileSync('python3', ['-m', 'venv', environment], { stdio: 'inherit' });
    const requirements = join(here, options.mixed ? 'requirements-mixed.txt' : 'requirements.txt');
    execFileSync(interpreter, ['-m', 'pip', 'install', '--quiet', '-r', requirements], { stdio: 'inherit' });
  }
  return interpreter;
}

async function measureSpeed(module: SearchModule, peer: PeerProcess | null): Promise<SpeedRow[]> {
  const native = options.native ? buildNative(join(repository, 'wasm-rust')) : null;
  const rows: SpeedRow[] = [];
  for (const one of speedCases) {
    say(`speed: ${one.algorithm}, ${one.arms} arms, ${one.nodes} nodes`);
    const wasm = wasmCost(module, one);
    const found = peer === null ? null : await peerTimes(peer, one);
    rows.push({
      ...one,
      wasm,
      native: native === null ? null : nativeCost(native, one),
      peer: found?.wall ?? null,
      peerProcessor: found?.processor ?? null,
    });
  }
  return rows;
}

async function peerTimes(peer: PeerProcess, one: SpeedCase): Promise<{ wall: number; processor: number } | null> {
  if (one.algorithm === 'abmcts-a') return one.nodes > 1000 ? null : peerCost(peer, one, Math.min(one.decisions, 40));
  const chosen = options.mixed && one.arms === 1 && peerMixedNodes.includes(one.nodes);
  return chosen ? peerCost(peer, one, 2) : null;
}

function engines(module: SearchModule, peer: PeerProcess | null): Engine[] {
  const own = [
    treeline('AB-MCTS-A', module, { algorithm: 'abmcts-a' }),
    treeline('AB-MCTS-A, Beta', module, { algorithm: 'abmcts-a', distribution: 'beta' }),
    treeline('AB-MCTS-M', module, { algorithm: 'abmcts-m' }),
    treeline('MCTS', module, { algorithm: 'mcts' }),
    treeline('best-first', module, { algorithm: 'best-first' }),
    treeline('repeated sampling', module, { algorithm: 'repeated-sampling' }),
    treeline('sequential refinement', module, { algorithm: 'sequential-refinement' }),
  ];
  if (peer === null) return own;
  const gaussian = treeQuest(`${peerName} AB-MCTS-A`, 'abmcts-a', peer);
  const beta = treeQuest(`${peerName} AB-MCTS-A, Beta`, 'abmcts-a-beta', peer);
  return options.beta ? [gaussian, beta, ...own] : [gaussian, ...own];
}

async function measureQuality(chosen: readonly Engine[], all: readonly Problem<unknown>[]): Promise<Curve[]> {
  const curves: Curve[] = [];
  for (const problem of all) {
    for (const engine of chosen) {
      const started = performance.now();
      curves.push(await curve(engine, problem, seeds, budgetMax));
      say(`${problem.name}: ${engine.name}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
  }
  return curves;
}

/** Those that were named, or all. */
function chosenProblems(): readonly Problem<unknown>[] {
  const names = options.problem ?? problems.map(({ name }) => name);
  return names.map((name) => {
    const found = problems.find((problem) => problem.name === name);
    if (found === undefined) throw new Error(`there is no problem ${name}: ${problems.map((one) => one.name)}`);
    return found;
  });
}

function measureSnapshot(module: SearchModule): Report['snapshot'] {
  const core = module.begin({ algorithm: 'mcts', arms: 2, seed: 1 });
  for (let trials = 0; trials < 10_000; trials++) {
    for (const { id } of core.ask(1, trials)) core.tell(id, (id % 97) / 97, { tokens: id }, trials);
  }
  const bytes = core.snapshot();
  const times = Array.from({ length: 21 }, () => {
    const started = performance.now();
    module.fromSnapshot(bytes).free();
    return performance.now() - started;
  });
  core.free();
  return { bytes: bytes.length, loadMs: median(times) };
}

/** One sentence about the machine and the versions. */
function machine(): string {
  const [first] = cpus();
  const requirements = readFileSync(join(here, 'requirements.txt'), 'utf8');
  const version = /treequest==(\S+)/.exec(requirements)?.[1];
  return `${first?.model ?? 'unknown processor'} (${cpus().length} cores); Node ${process.versions.node}, ${peerName} ${version}.`;
}

async function main(): Promise<void> {
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  mkdirSync(workspace, { recursive: true });
  const module = openModule();
  const peer = options.peer ? new PeerProcess(python(), join(here, 'peer.py')) : null;
  try {
    const speed = options.speed ? await measureSpeed(module, peer) : [];
    const curves = options.quality ? await measureQuality(engines(module, peer), chosenProblems()) : [];
    const report: Report = { machine: machine(), seeds, speed, snapshot: measureSnapshot(module), curves };
    writeFileSync(output, `${JSON.stringify(report, null, 1)}\n`);
    const table = markdown(report);
    writeFileSync(output.replace(/(\.json)?$/, '.md'), table);
    writeFileSync(output.replace(/(\.json)?$/, '.svg'), plot(curves));
    process.stdout.write(table);
  } finally {
    peer?.stop();
  }
}

await main();
