/**
 * Writes into the manifest what the model tool makes now. For maintainers, after a change of the tool or of a model's
 * format: `node infra/models/pin.ts`, then look at the difference.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projectDirectory } from '../local/paths.ts';
import { terminalProgress } from '../local/progress.ts';
import { sha256OfFile } from './checksum.ts';
import { ensureModelFiles } from './fetch.ts';
import { type Expected, type Model, type PoolModel, readManifest } from './manifest.ts';
import { outputExpectation } from './model-tool.ts';
import { writeWhole } from './write-whole.ts';

async function expectationOf(model: Exclude<Model, PoolModel>): Promise<Expected> {
  if (model.kind === 'fetched')
    return outputExpectation(model, await ensureModelFiles(model.name, terminalProgress(process.stderr)));
  const path = join(projectDirectory, model.path);
  return { bytes: (await stat(path)).size, sha256: await sha256OfFile(path) };
}

const path = fileURLToPath(new URL('manifest.json', import.meta.url));
let text = await readFile(path, 'utf8');
for (const model of await readManifest()) {
  // The pool reads its models as they are: nothing is made of them.
  if (model.kind === 'pool') continue;
  const { bytes, sha256 } = await expectationOf(model);
  for (const output of model.outputs) {
    text = text.replace(
      new RegExp(`("name": "${output.name}",\\s*"bytes": )\\d+(,\\s*"sha256": ")[0-9a-f]{64}`),
      `$1${bytes}$2${sha256}`,
    );
    console.log(`${output.name}: ${bytes} bytes, SHA-256 ${sha256}`);
  }
}
await writeWhole(path, text);
