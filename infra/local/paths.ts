/** Where things lie: the checkout, and what a local run keeps in it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const projectDirectory = fileURLToPath(new URL('../..', import.meta.url));

/** What a local run keeps between starts: data, keys, logs, process ids. Ignored by git. */
export const stateDirectory = process.env.TREELINE_STATE_DIRECTORY || join(projectDirectory, '.treeline');

/** Static files that the edge serves to itself: model weights. Always in the checkout, where `wrangler.toml` says. */
export const assetsDirectory = join(projectDirectory, '.treeline', 'assets');

/** Makes the state directory, which others may pass through but not look into, and returns its path. */
export async function makeStateDirectory(directory: string = stateDirectory): Promise<string> {
  // The account that PostgreSQL runs as, where we are root, has to pass. What is secret has a mode of its own.
  await mkdir(directory, { recursive: true, mode: 0o711 });
  return directory;
}
