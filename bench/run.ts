/** `npm run bench`: runs the benchmarks, all or those that are named. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Name, what it measures, and its entry. */
const BENCHMARKS = [
  { name: 'inference', about: 'embedding models against onnxruntime-web and ONNX Runtime', entry: 'inference/run.ts' },
  { name: 'boundary', about: 'what a call from JavaScript into WebAssembly costs', entry: 'boundary/run.ts' },
  { name: 'search', about: 'the search core against TreeQuest: speed and quality', entry: 'search/run.ts' },
  { name: 'analytics', about: 'bandits and optimiser against mabwiser and Optuna', entry: 'analytics/run.ts' },
  { name: 'pool', about: 'the pool’s chat under load, and a soak', entry: 'pool/run.ts' },
] as const;

const list = BENCHMARKS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n');
const HELP = `Usage: npm run bench -- [name] [options of that benchmark]

Without a name, all run, one after the other:
${list}

\`npm run bench -- inference --help\` lists that one's options. Figures mean something only on an idle machine.
`;

/** Runs one benchmark in its own process and returns its exit status. */
function run(entry: string, parameters: readonly string[]): number {
  const path = fileURLToPath(new URL(entry, import.meta.url));
  return spawnSync(process.execPath, [path, ...parameters], { stdio: 'inherit' }).status ?? 1;
}

/** The exit status for the command line `name, ...parameters`. */
function main([name, ...parameters]: readonly string[]): number {
  if (name === '--help' || name === '-h') {
    process.stdout.write(HELP);
    return 0;
  }
  if (name === undefined) return Math.max(...BENCHMARKS.map(({ entry }) => run(entry, [])));
  const benchmark = BENCHMARKS.find((one) => one.name === name);
  if (benchmark !== undefined) return run(benchmark.entry, parameters);
  process.stderr.write(`There is no benchmark ${name}.\n\n${HELP}`);
  return 2;
}

process.exitCode = main(process.argv.slice(2));
