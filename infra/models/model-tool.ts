/** Makes the edge's model files out of the fetched ones, by the project's own quantiser. */
import type { Model } from './manifest.ts';

type Output = Model['outputs'][number];

/** Makes `output` in `folder` out of the model's files there, and checks it. */
export async function makeOutput(output: Output, folder: string): Promise<void> {
  throw new Error(`${output.name} cannot be made in ${folder}: wasm-rust/pkg has no model tool yet.`);
}
