/**
 * onnxruntime-web inside workerd. The host does not compile bytes at request time, so the library's one call of
 * `WebAssembly.instantiate` is given the module that the host compiled; everything else is the library's own path.
 */

import compiled from 'module.wasm';
import * as onnx from 'onnxruntime-web/wasm';
import { createOnnxEngine } from '../onnx-engine.ts';
import { watchMemory } from '../onnx-memory.ts';
import { open, serve } from './serve.ts';

const memoryBytes = watchMemory();
Object.assign(WebAssembly, {
  instantiate: (_: BufferSource, imports: WebAssembly.Imports) =>
    Promise.resolve({ module: compiled, instance: new WebAssembly.Instance(compiled, imports) }),
});

export default serve(async (bindings) => {
  // Any bytes do: they say that the module need not be fetched.
  onnx.env.wasm.wasmBinary = new ArrayBuffer(8);
  const model = await open(bindings, 'minilm-int8.onnx');
  return createOnnxEngine(new Uint8Array(await model.arrayBuffer()), memoryBytes);
});
