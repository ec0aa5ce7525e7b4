/**
 * `npm run proto`: checks the contracts in `proto/` and generates code from them: Go for the pool's server, TypeScript for
 * the edge. `proto/contract.binpb` is the contract as it was last generated from; a change must be compatible with it.
 * With `--check` nothing is written, and it fails where the committed code is not what the contracts generate.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { projectDirectory } from '../local/paths.ts';

const contract = 'proto/contract.binpb';
const bufTimeoutMs = 300_000;

/** One language's code: the template that makes it, the folder that it lies in, and what its plugins need. */
interface Target {
  readonly language: string;
  readonly template: string;
  readonly folder: string;
  readonly needs?: string;
}

const targets: readonly Target[] = [
  { language: 'TypeScript', template: 'buf.gen.edge.yaml', folder: 'functions/pool-client/gen' },
  { language: 'Go', template: 'buf.gen.yaml', folder: 'pool/server/gen', needs: 'go' },
];

const isInstalled = (program: string): boolean =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => statSync(join(folder, program), { throwIfNoEntry: false }));

/** Runs buf; throws with what it printed where it does not succeed. */
function buf(...parameters: string[]): void {
  const { status, stdout, stderr, error } = spawnSync(join(projectDirectory, 'node_modules/.bin/buf'), parameters, {
    cwd: projectDirectory,
    encoding: 'utf8',
    timeout: bufTimeoutMs,
  });
  if (status !== 0) throw new Error(`buf ${parameters[0]} failed:\n${error?.message ?? ''}${stdout}${stderr}`);
}

/** Every file under `folder`, by its path in it. */
function filesIn(folder: string): Map<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = paths.filter((path) => statSync(join(folder, path)).isFile());
  return new Map(files.map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
}

/** What the plugins name their files; other generators may put theirs beside them. */
const pluginFile = /(_pb\.(js|d\.ts)|\.pb\.go|\.connect\.go)$/;

/** Paths whose content differs between the two folders, or that only one of them has. */
function differences(expected: string, actual: string): string[] {
  const [wanted, found] = [filesIn(expected), filesIn(actual)];
  const paths = [...wanted.keys(), ...[...found.keys()].filter((path) => pluginFile.test(path))];
  return [...new Set(paths)].filter((path) => wanted.get(path) !== found.get(path)).sort();
}

function check(folder: string): void {
  for (const { language, template, folder: committed, needs } of targets) {
    if (needs !== undefined && !isInstalled(needs)) {
      console.log(`left   ${language}: ${needs} is not installed`);
      continue;
    }
    buf('generate', '--template', template, '--output', folder);
    const wrong = differences(join(folder, committed), join(projectDirectory, committed));
    if (wrong.length > 0) {
      throw new Error(`${committed} is not what proto/ generates (${wrong.join(', ')}). Run: npm run proto`);
    }
    console.log(`ok     ${language}: ${committed}`);
  }
}

function generate(): void {
  for (const { language, template, folder, needs } of targets) {
    if (needs !== undefined && !isInstalled(needs))
      throw new Error(`${language} is generated with ${needs}: install it.`);
    buf('generate', '--template', template);
    console.log(`${language}: ${folder}`);
  }
  buf('build', '--exclude-source-info', '--output', contract);
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const folder = mkdtempSync(join(tmpdir(), 'treeline-proto-'));
try {
  buf('lint');
  if (statSync(join(projectDirectory, contract), { throwIfNoEntry: false })) buf('breaking', '--against', contract);
  if (values.check) check(folder);
  else generate();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
