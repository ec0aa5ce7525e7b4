/** The product's built module, for the benchmark. */
import { readFileSync } from 'node:fs';
import { type SearchModule, startSearch } from '../../functions/search/core/search-module.ts';

export type { SearchCore, SearchModule } from '../../functions/search/core/search-module.ts';

/** Starts it. */
export function openModule(): SearchModule {
  const path = new URL('../../wasm-rust/pkg/search/treeline_search_bg.wasm', import.meta.url);
  return startSearch(new WebAssembly.Module(readFileSync(path)));
}
