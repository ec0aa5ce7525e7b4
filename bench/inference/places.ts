/** Where the benchmark finds and puts things. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelCacheDirectory } from '../../infra/models/cache.ts';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
export const HERE = join(REPOSITORY, 'bench/inference');
/** What the benchmark makes: kept out of git. */
export const WORKSPACE = join(REPOSITORY, '.treeline/bench');
export const ONNX_FOLDER = join(WORKSPACE, 'onnx');
export const ONNX_MODEL = join(ONNX_FOLDER, 'minilm-int8.onnx');
export const PYTHON_ENVIRONMENT = join(WORKSPACE, 'venv');
export const WORKERD = join(REPOSITORY, 'node_modules/workerd/bin/workerd');
export const ONNX_MODULE = join(REPOSITORY, 'node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm');

const MODEL = 'all-minilm-l6-v2';

/** The folder of the float weights, the tokenizer and the product's model file: in the cache, or the named one itself. */
export const MODEL_DIRECTORY = existsSync(join(modelCacheDirectory(), 'model.safetensors'))
  ? modelCacheDirectory()
  : join(modelCacheDirectory(), MODEL);

/** The product's model files. The static one may be absent while it is being made. */
export const TREELINE_MODEL = join(MODEL_DIRECTORY, `${MODEL}.tlm`);
export const STATIC_FOLDER = join(REPOSITORY, 'wasm-rust/pkg/static');
export const STATIC_MODEL = join(STATIC_FOLDER, 'treeline-static-v1.tlm');

/** The product's module, in its two builds. */
export const TREELINE_MODULES = {
  relaxed: join(REPOSITORY, 'wasm-rust/pkg/inference/treeline_inference_bg.wasm'),
  plain: join(REPOSITORY, 'wasm-rust/pkg/inference/treeline_inference_plain_bg.wasm'),
} as const;
