/** Small files that only their owner may read: generated passwords and keys. */
import { chmod, readFile, rename, writeFile } from 'node:fs/promises';

const ownerOnly = 0o600;

/** Writes `text` to `path` with mode 0600, in one step: a reader sees the old text or the new, never a part. */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  await writeFile(partial, text, { mode: ownerOnly });
  await chmod(partial, ownerOnly);
  await rename(partial, path);
}

/** The text of `path`, or null where there is no such file. */
export async function readFileIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** The text of `path`; where there is none yet, `make()` written there. */
export async function keepSecretFile(path: string, make: () => string): Promise<string> {
  const kept = await readFileIfThere(path);
  if (kept !== null) return kept;
  const made = make();
  await writeSecretFile(path, made);
  return made;
}
