/**
 * One formatter and one linter a language: Biome for TypeScript and JSON, rustfmt and clippy, gofmt and vet, sqlfluff; and
 * that generated code is what the contracts generate.
 * `--write` formats, `--check` only looks. A language whose tools are not on the machine is named and left out, except
 * on CI, where that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';

interface Step {
  readonly language: string;
  readonly tool: string;
  readonly folder: string;
  readonly write: readonly string[] | null;
  readonly check: readonly string[];
  /** True where the tool answers with status 0 and prints what is wrong. */
  readonly silentIsGood?: boolean;
}

const sqlfluff = existsSync('.venv/bin/sqlfluff') ? '.venv/bin/sqlfluff' : 'sqlfluff';
const steps: readonly Step[] = [
  { language: 'TypeScript', tool: 'biome', folder: '.', write: ['check', '--write', '.'], check: ['check', '.'] },
  { language: 'Rust', tool: 'cargo', folder: 'wasm-rust', write: ['fmt', '--all'], check: ['fmt', '--all', '--check'] },
  {
    language: 'Rust',
    tool: 'cargo',
    folder: 'wasm-rust',
    write: null,
    check: ['clippy', '--workspace', '--all-targets', '--quiet', '--', '-D', 'warnings'],
  },
  {
    language: 'Rust',
    tool: 'cargo',
    folder: 'pool/engine',
    write: ['fmt', '--all'],
    check: ['fmt', '--all', '--check'],
  },
  {
    language: 'Rust',
    tool: 'cargo',
    folder: 'pool/engine',
    write: null,
    check: ['clippy', '--release', '--workspace', '--all-targets', '--locked', '--quiet', '--', '-D', 'warnings'],
  },
  { language: 'Go', tool: 'gofmt', folder: 'wasm-go', write: ['-w', '.'], check: ['-l', '.'], silentIsGood: true },
  { language: 'Go', tool: 'go', folder: 'wasm-go', write: null, check: ['vet', './...'] },
  { language: 'Go', tool: 'gofmt', folder: 'pool/server', write: ['-w', '.'], check: ['-l', '.'], silentIsGood: true },
  { language: 'Go', tool: 'go', folder: 'pool/server', write: null, check: ['vet', './...'] },
  { language: 'Protobuf', tool: 'npm', folder: '.', write: null, check: ['run', '--silent', 'proto:check'] },
  {
    language: 'SQL',
    tool: sqlfluff,
    folder: '.',
    write: ['fix', '--quiet', 'supabase/migrations'],
    check: ['lint', 'supabase/migrations'],
  },
];

const isInstalled = (tool: string): boolean =>
  existsSync(tool) || (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, tool)));

/** Runs one step; returns whether all is well. */
function run(step: Step, parameters: readonly string[]): boolean {
  const { status, stdout, stderr } = spawnSync(step.tool, parameters, { cwd: step.folder, encoding: 'utf8' });
  const isGood = status === 0 && (step.silentIsGood !== true || stdout.trim() === '');
  const place = step.folder === '.' ? '' : ` (${step.folder})`;
  console.log(`${isGood ? 'ok    ' : 'FAILED'} ${step.language}: ${step.tool} ${parameters.join(' ')}${place}`);
  if (!isGood) console.log(`${stdout}${stderr}`);
  return isGood;
}

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
});

for (const step of steps) {
  const parameters = values.write ? step.write : step.check;
  if (parameters === null) continue;
  if (!isInstalled(step.tool)) {
    console.log(`left   ${step.language}: ${step.tool} is not installed`);
    if (process.env.CI !== undefined) process.exitCode = 1;
  } else if (!run(step, parameters)) {
    process.exitCode = 1;
  }
}
