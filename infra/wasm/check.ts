/**
 * `npm run wasm:check`: holds the committed WebAssembly modules to their sources.
 *
 *   (no option)    Compares hashes with the manifest. Needs no toolchain and takes no time.
 *   --if-changed   The same; where a source differs from the manifest, rebuilds that package (`make test`).
 *   --rebuild      Rebuilds every package, whatever the manifest says (CI).
 *
 * The name of a package (`wasm-go`, `wasm-rust`) restricts it to that one.
 *
 * A rebuild installs the tools where they are missing. With the versions of the manifest, the bytes must be equal. With
 * others they may differ: the difference is printed and the rebuilt files take the place of the committed ones in the
 * working tree, so that the tests which follow run on them; `git checkout` brings the committed ones back.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  differences,
  type Manifest,
  type ManifestEntry,
  outputHashes,
  readManifest,
  replaceOutputs,
  sourceHashes,
} from './manifest.ts';
import { choosePackages, type WasmPackage } from './packages.ts';
import { buildPackage, installToolchain, toolchainVersions } from './toolchain.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { rebuild: { type: 'boolean', default: false }, 'if-changed': { type: 'boolean', default: false } },
});

const failures = choosePackages(positionals).flatMap((wasmPackage) => checkPackage(wasmPackage, readManifest(root)));
for (const failure of failures) console.error(failure);
if (failures.length > 0) {
  console.error("Run 'npm run wasm' and commit what it changes.");
  process.exit(1);
}

/** What is wrong with a package, in sentences. */
function checkPackage(wasmPackage: WasmPackage, manifest: Manifest): string[] {
  const entry = manifest[wasmPackage.folder];
  if (entry === undefined) return [`${wasmPackage.folder} is not in the manifest.`];
  const changedSources = differences(entry.sources, sourceHashes(root, wasmPackage));
  const changedOutputs = differences(entry.outputs, outputHashes(join(root, wasmPackage.output), wasmPackage));
  const stale = changedSources.map((change) => `A source differs from the manifest: ${change}.`);
  const altered = changedOutputs.map((change) => `A built file differs from the manifest: ${change}.`);
  if (options.rebuild) return [...stale, ...altered, ...rebuild(wasmPackage, entry)];
  if (altered.length > 0 || !options['if-changed'] || stale.length === 0) {
    if (stale.length + altered.length === 0) console.log(`${wasmPackage.folder}: built from these sources`);
    return [...stale, ...altered];
  }
  for (const line of stale) console.log(line);
  return rebuild(wasmPackage, entry);
}

/** Rebuilds and compares with the committed files. */
function rebuild(wasmPackage: WasmPackage, entry: ManifestEntry): string[] {
  console.log(`${wasmPackage.folder}: rebuilding`);
  installToolchain(root, wasmPackage);
  const folder = mkdtempSync(join(tmpdir(), 'treeline-wasm-'));
  try {
    buildPackage(root, wasmPackage, folder);
    return compare(wasmPackage, entry, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compare(wasmPackage: WasmPackage, entry: ManifestEntry, rebuilt: string): string[] {
  const otherTools = differences(entry.toolchain, toolchainVersions(root, wasmPackage));
  const changes = differences(entry.outputs, outputHashes(rebuilt, wasmPackage));
  if (changes.length === 0) {
    console.log(`${wasmPackage.folder}: the rebuilt files are equal, byte for byte`);
    return [];
  }
  if (otherTools.length === 0) {
    return changes.map((change) => `Rebuilt with the same tools, a built file comes out different: ${change}.`);
  }
  console.log(`${wasmPackage.folder}: rebuilt with other tools (${otherTools.join('; ')})`);
  for (const change of changes) console.log(`  ${change}`);
  replaceOutputs(root, wasmPackage, rebuilt);
  console.log(
    `  the rebuilt files are now in ${wasmPackage.output}, for the tests; git checkout brings back the others`,
  );
  return [];
}
