/** The product's module inside workerd. */
import compiled from 'module.wasm';
import { createTreelineEngine } from '../treeline-engine.ts';
import { open, serve } from './serve.ts';

export default serve(async (bindings) => {
  const bytes = async (name: string): Promise<Uint8Array> => {
    const response = await open(bindings, name);
    return new Uint8Array(await response.arrayBuffer());
  };
  const [large, small] = await Promise.all([bytes('large.tlm'), bytes('static.tlm').catch(() => null)]);
  return createTreelineEngine(compiled, large, small);
});
