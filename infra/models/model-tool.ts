/** Makes the edge's model files out of the fetched ones, by the project's own quantiser. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { initSync, quantiseMiniLm } from '../../wasm-rust/pkg/model-tool/treeline_model_tool.js';
import { checkBytes } from './checksum.ts';
import type { OnBytes } from './download.ts';
import type { Expected, FetchedModel } from './manifest.ts';
import { writeWhole } from './write-whole.ts';

type Output = FetchedModel['outputs'][number];

const toolModule = new URL('../../wasm-rust/pkg/model-tool/treeline_model_tool_bg.wasm', import.meta.url);

/** The quantised model of the files in `folder`: the same bytes for the same files, on every machine. */
async function quantise(model: FetchedModel, folder: string, onBytes: OnBytes): Promise<Uint8Array> {
  initSync({ module: await readFile(toolModule) });
  const weights = await readFile(join(folder, 'model.safetensors'));
  const tokenizer = await readFile(join(folder, 'tokenizer.json'), 'utf8');
  return quantiseMiniLm(model.name, weights, tokenizer, (share: number) =>
    onBytes(share * weights.length, weights.length),
  );
}

/** Makes `output` in `folder` out of the model's files there. Throws `WrongFile` where it is not what is pinned. */
export async function makeOutput(model: FetchedModel, output: Output, folder: string, onBytes: OnBytes): Promise<void> {
  const bytes = await quantise(model, folder, onBytes);
  checkBytes(output.name, bytes, output);
  await writeWhole(join(folder, output.name), bytes);
}

/** What the tool makes of the model's files now: what a maintainer pins after a change of the tool. */
export async function outputExpectation(model: FetchedModel, folder: string): Promise<Expected> {
  const bytes = await quantise(model, folder, () => undefined);
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
