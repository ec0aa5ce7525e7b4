/** onnxruntime-web in Node: `node onnx.ts MODEL`. */
import { readFileSync } from 'node:fs';
import { createOnnxEngine } from '../onnx-engine.ts';
import { watchMemory } from '../onnx-memory.ts';
import { serve } from './serve.ts';

const path = process.argv[2];
if (path === undefined) throw new Error('usage: node onnx.ts MODEL');
await serve(await createOnnxEngine(readFileSync(path), watchMemory()));
