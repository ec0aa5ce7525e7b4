/**
 * The one loader of the product's WebAssembly modules. A host supplies them compiled (`WasmModules` in `ports.ts`:
 * Workers by an import, Deno and Node from files); from there on every host does the same.
 */
import { CacheIndex, type CacheLimits } from '../../wasm-go/cache.ts';
import { Router } from '../../wasm-go/routing.ts';
import type { WasmModuleName, WasmModules } from '../ports.ts';
import { LiveInstance, type WasmTrapped } from './instance.ts';

/** Told of each trap, to count and log it. */
export type TrapListener = (trap: WasmTrapped) => void;

/** The cache's index. After a trap it is empty: values under slots of another generation are to be dropped. */
export function loadCacheIndex(
  wasm: WasmModules,
  limits: CacheLimits,
  onTrap?: TrapListener,
): Promise<LiveInstance<CacheIndex>> {
  return load(wasm, 'cache', (module) => CacheIndex.instantiate(module, limits), onTrap);
}

/** The router. After a trap it has no upstreams: they are to be set where the generation has changed. */
export function loadRouter(wasm: WasmModules, onTrap?: TrapListener): Promise<LiveInstance<Router>> {
  return load(wasm, 'routing', (module) => Router.instantiate(module), onTrap);
}

/**
 * A live instance of any of the host's modules. `start` makes a fresh one of the compiled module, at the first use and
 * after each trap. Rejects where the host cannot supply the module.
 */
export async function load<Instance>(
  wasm: WasmModules,
  name: WasmModuleName,
  start: (module: WebAssembly.Module) => Instance,
  onTrap?: TrapListener,
): Promise<LiveInstance<Instance>> {
  const module = await wasm.compiled(name);
  return new LiveInstance({ name, start: () => start(module), onTrap });
}
