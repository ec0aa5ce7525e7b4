/** Where things lie: the checkout, and what a local run keeps in it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const projectDirectory = fileURLToPath(new URL('../..', import.meta.url));

/** What a local run keeps between starts: data, keys, logs, process ids. Ignored by git. */
export const stateDirectory = join(projectDirectory, '.treeline');

/** Static files that the edge serves to itself: model weights. */
export const assetsDirectory = join(stateDirectory, 'assets');

/** Makes the folder of `parts` under the state directory, readable by its owner alone, and returns its path. */
export async function stateFolder(...parts: string[]): Promise<string> {
  const path = join(stateDirectory, ...parts);
  await mkdir(path, { recursive: true });
  return path;
}
