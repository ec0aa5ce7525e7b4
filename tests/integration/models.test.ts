/** The real model, fetched and quantised: from a hub of the test's own, which serves what the package index brought. */
import { createReadStream } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silentProgress } from '../../infra/local/progress.ts';
import { isExpected } from '../../infra/models/checksum.ts';
import { ensureModelFiles, ensureModels } from '../../infra/models/fetch.ts';
import { readManifest } from '../../infra/models/manifest.ts';

let folder: string;
let server: Server;
let asked: string[] = [];

beforeAll(async () => {
  const originals = await ensureModelFiles('all-minilm-l6-v2', silentProgress);
  folder = await mkdtemp(join(tmpdir(), 'treeline-models-'));
  server = createServer((request, response) => {
    const name = basename(request.url ?? '');
    asked.push(name);
    createReadStream(join(originals, name)).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  process.env.TREELINE_MODEL_HUB = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
});

afterAll(async () => {
  delete process.env.TREELINE_MODEL_HUB;
  server.close();
  await rm(folder, { recursive: true });
});

const folders = () => ({ cache: join(folder, 'cache'), assets: join(folder, 'assets') });

async function ensure(): Promise<string[]> {
  asked = [];
  return ensureModels(silentProgress, folders());
}

async function expectWhole(): Promise<void> {
  for (const model of await readManifest()) {
    if (model.kind !== 'fetched') continue;
    for (const output of model.outputs) {
      expect(await isExpected(join(folders().assets, output.name), output)).toBe(true);
    }
  }
}

it('fetches and quantises once, to the bytes that the manifest pins', async () => {
  const paths = await ensure();
  expect(asked.sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'vocab.txt']);
  await expectWhole();
  expect(await ensure()).toEqual(paths);
  expect(asked).toEqual([]);
});

it('takes it from the cache where the checkout is new', async () => {
  await rm(folders().assets, { recursive: true });
  await ensure();
  expect(asked).toEqual([]);
  await expectWhole();
});

it('puts right what was damaged: in the assets, in the cache, or both', async () => {
  const name = 'all-minilm-l6-v2.tlm';
  const asset = join(folders().assets, name);
  const kept = join(folders().cache, 'all-minilm-l6-v2', name);
  const bytes = await readFile(asset);
  bytes.writeUInt8(bytes.readUInt8(1_000_000) ^ 1, 1_000_000);

  await writeFile(asset, bytes);
  await ensure();
  await expectWhole();
  expect(asked).toEqual([]);

  await writeFile(asset, bytes);
  await truncate(kept, 1_000);
  const weights = join(folders().cache, 'all-minilm-l6-v2', 'model.safetensors');
  await truncate(weights, 5_000_000);
  await ensure();
  await expectWhole();
  expect(asked).toEqual(['model.safetensors']);
});

it('leaves nothing half behind where it is given up', async () => {
  const given = { cache: join(folder, 'given-up', 'cache'), assets: join(folder, 'given-up', 'assets') };
  const abort = new AbortController();
  abort.abort();
  await expect(ensureModels(silentProgress, given, abort.signal)).rejects.toThrow('given up');
  expect(await readdir(given.assets)).toEqual([]);
  await cp(folders().cache, given.cache, { recursive: true });
  await ensureModels(silentProgress, given);
  expect(await readdir(given.assets)).toEqual(['all-minilm-l6-v2.tlm']);
});
