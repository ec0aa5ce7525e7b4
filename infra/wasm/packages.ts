/** The packages that are compiled to WebAssembly and committed as built. */

/** One of them. Paths are relative to the repository's root, with forward slashes. */
export interface WasmPackage {
  /** The folder of its sources. */
  readonly folder: 'wasm-go' | 'wasm-rust';
  /** The folder that its build fills. */
  readonly output: string;
  /** Matches the folders, by their path inside `output`, that come from elsewhere. */
  readonly foreign: RegExp | null;
  /** The argument of `infra/toolchains/install.sh` that installs what builds it. */
  readonly toolchain: 'go' | 'rust';
  /** Matches the files, by their path inside the folder, that can change what is built. */
  readonly sources: RegExp;
  /** Matches the folders, by their path inside the folder, in which no source lies. */
  readonly ignored: RegExp;
}

const wasmGo: WasmPackage = {
  folder: 'wasm-go',
  output: 'wasm-go/dist',
  foreign: null,
  toolchain: 'go',
  sources: /((?<!_test)\.go|^go\.(mod|sum)|^build\.sh)$/,
  ignored: /(^dist|(^|\/)testdata)$/,
};

/** A crate may include any file, such as a vocabulary, so all count that are not known to be something else. */
const wasmRust: WasmPackage = {
  folder: 'wasm-rust',
  output: 'wasm-rust/pkg',
  // The static model is made of another model's weights, by `infra/models`, and has a manifest there.
  foreign: /^static$/,
  toolchain: 'rust',
  sources: /(?<!\.md|\.ts|\.gitignore)$/,
  ignored: /(^pkg|(^|\/)(target(-[^/]*)?|tests|benches|examples|fuzz))$/,
};

export const wasmPackages: readonly WasmPackage[] = [wasmGo, wasmRust];

/** The script of a package that builds it into a folder, or names its tools with `--versions`. */
export function buildScript(wasmPackage: WasmPackage): string {
  return `${wasmPackage.folder}/build.sh`;
}

/** The packages of the given folders, or all where none is given. Throws where there is no such package. */
export function choosePackages(folders: readonly string[]): readonly WasmPackage[] {
  const unknown = folders.find((name) => wasmPackages.every(({ folder }) => folder !== name));
  if (unknown !== undefined)
    throw new Error(`there is no package ${unknown}: ${wasmPackages.map(({ folder }) => folder)}`);
  return wasmPackages.filter(({ folder }) => folders.length === 0 || folders.includes(folder));
}
