import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  differences,
  outputHashes,
  readManifest,
  replaceOutputs,
  sourceHashes,
  writeManifestEntry,
} from './manifest.ts';
import { choosePackages, wasmPackages } from './packages.ts';
import { parseVersions } from './toolchain.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'treeline-manifest-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

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

test('rebuilt files take the place of all that was built before, and of nothing else', () => {
  const wasmRust = wasmPackages.find(({ folder }) => folder === 'wasm-rust');
  if (wasmRust === undefined) throw new Error('wasm-rust is no package');
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write('wasm-rust/pkg/static/model.tlm', 'from elsewhere');
  write('wasm-rust/pkg/inference/gone.js', 'built before');
  write('wasm-rust/pkg/inference/kept.js', 'built before');
  write('rebuilt/inference/kept.js', 'built anew');
  const before = outputHashes(join(root, wasmRust.output), wasmRust);
  replaceOutputs(root, wasmRust, join(root, 'rebuilt'));
  const after = outputHashes(join(root, wasmRust.output), wasmRust);
  expect(after).toEqual(outputHashes(join(root, 'rebuilt'), wasmRust));
  expect(Object.keys(before)).toEqual(['wasm-rust/pkg/inference/gone.js', 'wasm-rust/pkg/inference/kept.js']);
  expect(Object.keys(after)).toEqual(['wasm-rust/pkg/inference/kept.js']);
  expect(readFileSync(join(root, 'wasm-rust/pkg/static/model.tlm'), 'utf8')).toBe('from elsewhere');
});

test('a package that there is not is refused by name', () => {
  expect(() => choosePackages(['wasm'])).toThrow(/there is no package wasm:/);
  expect(choosePackages([])).toEqual(wasmPackages);
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
