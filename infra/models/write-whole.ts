/** Files that are whole or not there. */
import { rename, writeFile } from 'node:fs/promises';

/** Writes `bytes` to `path` in one step: whoever looks sees the old file or the whole new one. */
export async function writeWhole(path: string, bytes: Uint8Array | string): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  await writeFile(partial, bytes);
  await rename(partial, path);
}
