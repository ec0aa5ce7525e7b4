/** The committed modules, read from where they lie and compiled, for the tests of this folder. */
import { readFileSync } from 'node:fs';
import type { WasmModules } from '../../functions/ports.ts';

/** The bytes of a file of the repository. */
export function repositoryFile(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../${path}`, import.meta.url)));
}

export const goModules: WasmModules = {
  async compiled(name) {
    return new WebAssembly.Module(repositoryFile(`wasm-go/dist/${name}.wasm`));
  },
};
