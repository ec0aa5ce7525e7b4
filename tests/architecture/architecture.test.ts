import { expect, test } from 'vitest';
import { linesWith, type SourceFile, trackedFiles } from './sources.ts';

const files = trackedFiles();
const under = (...folders: string[]): SourceFile[] =>
  files.filter(({ path }) => folders.some((folder) => path.startsWith(folder)));
const except = (from: SourceFile[], pattern: RegExp): SourceFile[] => from.filter(({ path }) => !pattern.test(path));

/** Everything that runs at the edge, or inside its modules. */
const product = except(under('functions/', 'supabase/functions/', 'wasm-go/', 'wasm-rust/'), /\.md$/);

test.each<[string, RegExp, RegExp]>([
  [
    'Cloudflare’s modules and globals',
    /cloudflare:|caches\.default|DurableObject|waitUntil\(/,
    /^functions\/platforms\//,
  ],
  ['Deno and Supabase’s runtime', /\bDeno\.|EdgeRuntime|npm:|jsr:/, /^(functions\/platforms|supabase\/functions)\//],
  [
    'wasm-bindgen and js-sys',
    /wasm_bindgen|js_sys|web_sys/,
    /^wasm-rust\/(\w|-)+-wasm\/|^wasm-rust\/(build\.sh|\S*Cargo\.toml)$|^functions\/inference\/inference-module\.ts$/,
  ],
  ['Go’s exports to WebAssembly', /\/\/go:wasm/, /^wasm-go\/(cmd|tools)\//],
  [
    'drivers of databases and stores',
    /from '(pg|@neondatabase\/.*|@upstash\/.*|@supabase\/.*|ioredis)'/,
    /^functions\/platforms\//,
  ],
])('%s occur only where a host or a binding is', (_, name, allowed) => {
  expect(linesWith(except(product, allowed), name)).toEqual([]);
});

test('each rule finds what it looks for where it is allowed, so none has gone blind', () => {
  const platforms = under('functions/platforms/');
  for (const name of [/cloudflare:/, /\bDeno\./, /from 'pg'/]) expect(linesWith(platforms, name)).not.toEqual([]);
  expect(linesWith(under('wasm-rust/'), /wasm_bindgen/)).not.toEqual([]);
  expect(linesWith(under('wasm-go/'), /\/\/go:wasmexport/)).not.toEqual([]);
});

const capabilities = except(under('functions/'), /\.test\.ts$/);

test('nothing but an entry imports a platform', () => {
  const imports = /from '[./]*(functions\/)?platforms\//;
  expect(linesWith(except(capabilities, /^functions\/platforms\//), imports)).toEqual([]);
});

test('the core reads neither the clock, nor randomness, nor the environment', () => {
  const impure = /Date\.now\(|new Date\(\)|performance\.now\(|Math\.random\(|getRandomValues|randomUUID|process\.env/;
  expect(linesWith(except(capabilities, /^functions\/platforms\//), impure)).toEqual([]);
});

test('the pure crates and packages do no I/O and read no clock', () => {
  const rust = under('wasm-rust/inference/src/', 'wasm-rust/search/src/');
  expect(rust.length).toBeGreaterThan(0);
  expect(linesWith(rust, /std::(fs|net|time|thread|env|process)\b/)).toEqual([]);
  const go = except(under('wasm-go/cache/', 'wasm-go/routing/'), /_test\.go$/);
  expect(go.length).toBeGreaterThan(0);
  expect(linesWith(go, /^\s*(import )?"(os|net|net\/http|time|math\/rand.*|sync)"$/)).toEqual([]);
});

test('the product imports from outside only what package.json names', () => {
  const names = new Set(Object.keys(packageJson().dependencies));
  const imports = linesWith(except(product, /\.test\.ts$|\.d\.ts$/), /^\s*(import|export) .* from '[^.]/);
  const unknown = imports.filter((line) => {
    const specifier = / from '([^']+)'/.exec(line)?.[1] ?? '';
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    return !names.has(name) && !/^(node:|cloudflare:)/.test(specifier);
  });
  expect(unknown).toEqual([]);
});

function packageJson(): { dependencies: Record<string, string> } {
  const file = files.find(({ path }) => path === 'package.json');
  return JSON.parse(file?.lines.join('\n') ?? '');
}

const others = except(files, /^tests\/architecture\//);

test('no file names a package registry’s address: clients know theirs', () => {
  const registries =
    /pypi\.org|pythonhosted\.org|registry\.npmjs|static\.crates\.io|index\.crates\.io|proxy\.golang\.org|sum\.golang\.org|deb\.debian\.org/;
  expect(linesWith(others, registries)).toEqual([]);
});

test('no file names a place on somebody’s machine', () => {
  expect(linesWith(others, /(^|[\s"'`=(:])\/(work|root|home|Users)\/\w/)).toEqual([]);
});

test('no test is switched off without a reason in its name, and none runs alone', () => {
  const tests = others.filter(({ path }) => /\.test\.ts$/.test(path));
  expect(linesWith(tests, /\b(test|it|describe)(\.only|\.todo|\.skip\((?!`[^`]*\$\{))|\bx(it|describe)\(/)).toEqual([]);
});

test('no key lies in the repository', () => {
  expect(linesWith(others, /\btl_[0-9a-f]{48}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----/)).toEqual([]);
});
