/** Whether a file is the one meant. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Expected } from './manifest.ts';

/** A file is not the one that the manifest names. */
export class WrongFile extends Error {
  override readonly name = 'WrongFile';
}

/** SHA-256 of the file at `path`, in hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** Whether there is a file at `path` with the expected length and SHA-256. */
export async function isExpected(path: string, expected: Expected): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.size === expected.bytes && (await sha256OfFile(path)) === expected.sha256;
}

/** Throws `WrongFile` where the bytes are not the expected ones. */
export function checkBytes(name: string, bytes: Uint8Array, expected: Expected): void {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== expected.sha256)
    throw new WrongFile(
      `${name} is not the file that the manifest names: ${bytes.length} bytes with SHA-256 ${sha256}, ` +
        `expected ${expected.bytes} bytes with ${expected.sha256}.`,
    );
}
