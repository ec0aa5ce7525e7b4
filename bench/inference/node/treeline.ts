/** The product's module in Node: `node treeline.ts MODULE MODEL [STATIC MODEL]`. */
import { readFileSync } from 'node:fs';
import { createTreelineEngine } from '../treeline-engine.ts';
import { serve } from './serve.ts';

const [module, large, small] = process.argv.slice(2);
if (module === undefined || large === undefined) throw new Error('usage: node treeline.ts MODULE MODEL [STATIC MODEL]');
const compiled = new WebAssembly.Module(readFileSync(module));
await serve(createTreelineEngine(compiled, readFileSync(large), small === undefined ? null : readFileSync(small)));
