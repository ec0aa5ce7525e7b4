import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { differences, outputHashes, readManifest, sourceHashes, writeManifestEntry } from './manifest.ts';
import { wasmPackages } from './packages.ts';
import { parseVersions } from './toolchain.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'treeline-manifest-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe.each(wasmPackages)('$folder', (wasmPackage) => {
  test('the committed modules were built from the committed sources', () => {
    const entry = readManifest(repository)[wasmPackage.folder];
    expect(entry?.sources).toEqual(sourceHashes(repository, wasmPackage));
    expect(entry?.outputs).toEqual(outputHashes(join(repository, wasmPackage.output), wasmPackage));
  });
});

describe('the sources of wasm-go', () => {
  const [wasmGo] = wasmPackages;
  if (wasmGo === undefined) throw new Error('wasm-go is no package');

  test('a change of a source, and of no test or document, is seen', () => {
    cpSync(join(repository, 'wasm-go'), join(root, 'wasm-go'), { recursive: true });
    const before = sourceHashes(root, wasmGo);
    for (const path of ['cache/more_test.go', 'cache/testdata/x.go', 'NOTES.md', 'dist/x.go', 'cache.ts']) {
      writeFileSync(join(root, 'wasm-go', path), 'new');
    }
    expect(differences(before, sourceHashes(root, wasmGo))).toEqual([]);
    writeFileSync(join(root, 'wasm-go/cache/more.go'), 'package cache');
    writeFileSync(join(root, 'wasm-go/go.mod'), 'module other');
    rmSync(join(root, 'wasm-go/cache/table.go'));
    expect(differences(before, sourceHashes(root, wasmGo))).toEqual([
      'wasm-go/cache/more.go is new',
      'wasm-go/cache/table.go is gone',
      expect.stringMatching(/^wasm-go\/go\.mod is [0-9a-f]{64}, not [0-9a-f]{64}$/),
    ]);
  });

  test('all that the build reads is among them', () => {
    const paths = Object.keys(sourceHashes(repository, wasmGo));
    expect(paths).toEqual(expect.arrayContaining(['wasm-go/build.sh', 'wasm-go/go.mod', 'wasm-go/cmd/cache/main.go']));
    expect(paths.some((path) => path.endsWith('_test.go'))).toBe(false);
  });
});

test('an entry replaces the package of that name and leaves the others', () => {
  cpSync(join(repository, 'infra/wasm'), join(root, 'infra/wasm'), { recursive: true });
  const before = readManifest(root);
  const entry = { sources: { a: '1' }, toolchain: { b: '2' }, outputs: { c: '3' } };
  writeManifestEntry(root, 'wasm-other', entry);
  expect(readManifest(root)).toEqual({ ...before, 'wasm-other': entry });
});

test('versions are read as the build scripts print them', () => {
  expect(parseVersions('tinygo 0.41.1 llvm 19.1.7\ngo 1.26.8\n')).toEqual({
    tinygo: '0.41.1 llvm 19.1.7',
    go: '1.26.8',
  });
  expect(() => parseVersions('tinygo')).toThrow(/not a tool/);
});
