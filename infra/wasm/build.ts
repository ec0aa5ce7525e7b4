/**
 * `npm run wasm`: builds the WebAssembly modules from their sources into the folders that are committed, and writes the
 * manifest. `npm run wasm -- wasm-go` builds one package. Installs the tools where they are missing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outputHashes, replaceOutputs, sourceHashes, writeManifestEntry } from './manifest.ts';
import { choosePackages, type WasmPackage } from './packages.ts';
import { buildPackage, installToolchain, toolchainVersions } from './toolchain.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Builds in a temporary folder first, so that a build that fails leaves the committed modules alone. */
function build(wasmPackage: WasmPackage): void {
  installToolchain(root, wasmPackage);
  const folder = mkdtempSync(join(tmpdir(), 'treeline-wasm-'));
  try {
    const sources = sourceHashes(root, wasmPackage);
    buildPackage(root, wasmPackage, folder);
    replaceOutputs(root, wasmPackage, folder);
    const outputs = outputHashes(folder, wasmPackage);
    writeManifestEntry(root, wasmPackage.folder, { sources, toolchain: toolchainVersions(root, wasmPackage), outputs });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const wasmPackage of choosePackages(process.argv.slice(2))) build(wasmPackage);
