/** Where the benchmark finds and puts things. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
export const HERE = join(REPOSITORY, 'bench/inference');
/** What the benchmark makes: kept out of git. */
export const WORKSPACE = join(REPOSITORY, '.treeline/bench');
export const ONNX_FOLDER = join(WORKSPACE, 'onnx');
export const ONNX_MODEL = join(ONNX_FOLDER, 'minilm-int8.onnx');
export const PYTHON_ENVIRONMENT = join(WORKSPACE, 'venv');
export const WORKERD = join(REPOSITORY, 'node_modules/workerd/bin/workerd');
export const ONNX_MODULE = join(REPOSITORY, 'node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm');

/** The folder of the float weights and the tokenizer, as the models' fetch script lays them out. */
export const MODEL_DIRECTORY =
  process.env['TREELINE_MODEL_DIRECTORY'] ?? join(homedir(), '.cache/treeline/models/all-minilm-l6-v2');
