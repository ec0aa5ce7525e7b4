/** How large what is shipped is: code that travels with the bundle, and model files. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ONNX_MODEL, ONNX_MODULE, STATIC_MODEL, TREELINE_MODEL, TREELINE_MODULES, WORKSPACE } from './places.ts';

/** One file, as it is and compressed, in bytes. */
export interface Size {
  readonly what: string;
  readonly raw: number;
  readonly gzip: number;
}

/** How hard gzip tries, as deployment tools do. */
const LEVEL = 9;

/** Sizes of the modules, of the JavaScript around them (as bundled for workerd), and of the models. */
export function sizes(): Size[] {
  const bundles = join(WORKSPACE, 'workerd');
  const files = [
    { what: 'treeline, module (relaxed SIMD)', path: TREELINE_MODULES.relaxed },
    { what: 'treeline, module (plain SIMD)', path: TREELINE_MODULES.plain },
    { what: 'treeline, JavaScript', path: join(bundles, 'treeline-relaxed.js') },
    { what: 'treeline, MiniLM', path: TREELINE_MODEL },
    { what: 'treeline, static model', path: STATIC_MODEL },
    { what: 'onnxruntime-web, module', path: ONNX_MODULE },
    { what: 'onnxruntime-web, JavaScript', path: join(bundles, 'onnx.js') },
    { what: 'onnxruntime-web, MiniLM', path: ONNX_MODEL },
  ];
  return files.flatMap(({ what, path }) => measured(what, path));
}

function measured(what: string, path: string): Size[] {
  try {
    const bytes = readFileSync(path);
    return [{ what, raw: bytes.length, gzip: gzipSync(bytes, { level: LEVEL }).length }];
  } catch (error) {
    // A run without workerd bundles nothing.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
