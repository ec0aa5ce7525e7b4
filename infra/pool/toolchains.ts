/** Whether this machine can build the pool: Go and Rust, new enough. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectDirectory } from '../local/paths.ts';

const versionTimeoutMs = 20_000;
const run = promisify(execFile);

/** Major and minor of a version such as `go1.26.8`, `1.95.0` or `1.26`; null where there is none in `text`. */
export function majorAndMinor(text: string): readonly [number, number] | null {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(text) ?? [];
  return major === undefined || minor === undefined ? null : [Number(major), Number(minor)];
}

/** Whether `found` is `wanted` or later. */
export function isAtLeast(found: string, wanted: string): boolean {
  const [have, need] = [majorAndMinor(found), majorAndMinor(wanted)];
  if (have === null || need === null) return false;
  return have[0] > need[0] || (have[0] === need[0] && have[1] >= need[1]);
}

interface Toolchain {
  readonly title: string;
  readonly command: readonly [string, ...string[]];
  /** The file that says which version the sources need, and where in it. */
  readonly file: string;
  readonly pattern: RegExp;
}

const toolchains: readonly Toolchain[] = [
  { title: 'Go', command: ['go', 'env', 'GOVERSION'], file: 'pool/server/go.mod', pattern: /^go (\S+)$/m },
  { title: 'Rust', command: ['cargo', '--version'], file: 'pool/engine/Cargo.toml', pattern: /rust-version = "(\S+)"/ },
];

async function versionOf([program, ...parameters]: Toolchain['command']): Promise<string | null> {
  try {
    return (await run(program, parameters, { timeout: versionTimeoutMs })).stdout.trim();
  } catch {
    return null;
  }
}

/** What is missing for building the pool, as a sentence each; none where it can be built. */
export async function missingToolchains(): Promise<string[]> {
  const missing: string[] = [];
  for (const { title, command, file, pattern } of toolchains) {
    const wanted = pattern.exec(await readFile(join(projectDirectory, file), 'utf8'))?.[1] ?? '0.0';
    const found = await versionOf(command);
    if (found === null) missing.push(`${title} ${wanted} or newer is not installed.`);
    else if (!isAtLeast(found, wanted)) missing.push(`${title} ${wanted} or newer is needed; this is ${found}.`);
  }
  return missing;
}
