/**
 * The manifest binds the committed modules to their sources: the hash of every source file, the versions of the tools,
 * and the hash of every file built. With it a machine without TinyGo or a Rust for WebAssembly can tell whether the
 * modules are those of the sources.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WasmPackage } from './packages.ts';

/** Paths to SHA-256 in hexadecimal. */
export type Hashes = Readonly<Record<string, string>>;

/** What is known of one package. */
export interface ManifestEntry {
  /** By path from the repository's root. */
  readonly sources: Hashes;
  /** Tool to version, as `build.sh --versions` names them. */
  readonly toolchain: Readonly<Record<string, string>>;
  /** By path from the repository's root. */
  readonly outputs: Hashes;
}

/** The whole manifest, by the package's folder. */
export type Manifest = Readonly<Record<string, ManifestEntry>>;

export const manifestPath = 'infra/wasm/manifest.json';

/** The differences between two records of hashes or versions, each as words: `wasm-go/go.mod is new`. */
export function differences(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((name) => {
    if (before[name] === after[name]) return [];
    if (before[name] === undefined) return [`${name} is new`];
    if (after[name] === undefined) return [`${name} is gone`];
    return [`${name} is ${after[name]}, not ${before[name]}`];
  });
}

/** The manifest of the repository at `root`, or an empty one where there is none yet. */
export function readManifest(root: string): Manifest {
  try {
    return JSON.parse(readFileSync(join(root, manifestPath), 'utf8')) as Manifest;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw new Error(`${manifestPath} cannot be read: ${error}`);
  }
}

/** Replaces one package's entry. */
export function writeManifestEntry(root: string, folder: string, entry: ManifestEntry): void {
  const manifest = { ...readManifest(root), [folder]: entry };
  const sorted = Object.fromEntries(Object.entries(manifest).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(join(root, manifestPath), `${JSON.stringify(sorted, null, 2)}\n`);
}

/** The hashes of a package's sources. */
export function sourceHashes(root: string, wasmPackage: WasmPackage): Hashes {
  const { folder, sources, ignored } = wasmPackage;
  const paths = filesBelow(join(root, folder), ignored).filter((path) => sources.test(path));
  return hashes(
    root,
    paths.map((path) => `${folder}/${path}`),
  );
}

/** The hashes of what is built in `folder`, named as if it lay in the package's output folder. */
export function outputHashes(folder: string, wasmPackage: WasmPackage): Hashes {
  const files = hashes(folder, filesBelow(folder, wasmPackage.foreign));
  return Object.fromEntries(Object.entries(files).map(([path, hash]) => [`${wasmPackage.output}/${path}`, hash]));
}

/** Puts what was built in `folder` in the place of what is committed. */
export function replaceOutputs(root: string, wasmPackage: WasmPackage, folder: string): void {
  const output = join(root, wasmPackage.output);
  mkdirSync(output, { recursive: true });
  for (const path of filesBelow(output, wasmPackage.foreign)) rmSync(join(output, path));
  cpSync(folder, output, { recursive: true });
}

function hashes(folder: string, paths: readonly string[]): Hashes {
  return Object.fromEntries(
    paths.map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex'),
    ]),
  );
}

/** Relative paths of all files below a folder, sorted; folders that match `ignored` are not entered. */
function filesBelow(folder: string, ignored: RegExp | null, prefix = ''): string[] {
  const entries = readdirSync(join(folder, prefix), { withFileTypes: true });
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = `${prefix}${entry.name}`;
      if (!entry.isDirectory()) return [path];
      return ignored?.test(path) ? [] : filesBelow(folder, ignored, `${path}/`);
    });
}
