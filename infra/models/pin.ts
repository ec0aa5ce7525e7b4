/**
 * Writes into the manifest what the model tool makes now. For maintainers, after a change of the tool or of a model's
 * format: `node infra/models/pin.ts`, then look at the difference.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { terminalProgress } from '../local/progress.ts';
import { ensureModelFiles } from './fetch.ts';
import { readManifest } from './manifest.ts';
import { outputExpectation } from './model-tool.ts';
import { writeWhole } from './write-whole.ts';

const path = fileURLToPath(new URL('manifest.json', import.meta.url));
let text = await readFile(path, 'utf8');
for (const model of await readManifest()) {
  const folder = await ensureModelFiles(model.name, terminalProgress(process.stderr));
  for (const output of model.outputs) {
    const { bytes, sha256 } = await outputExpectation(model.name, folder);
    text = text.replace(`"bytes": ${output.bytes}`, `"bytes": ${bytes}`).replace(output.sha256, sha256);
    console.log(`${output.name}: ${bytes} bytes, SHA-256 ${sha256}`);
  }
}
await writeWhole(path, text);
