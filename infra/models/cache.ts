/** Where fetched models are kept: outside the checkout, so that a new clone need not fetch them again. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The cache's folder: `TREELINE_MODEL_DIRECTORY`, else under `XDG_CACHE_HOME`, else under `~/.cache`. */
export function modelCacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const { TREELINE_MODEL_DIRECTORY: own, XDG_CACHE_HOME: caches } = environment;
  if (own !== undefined && own !== '') return own;
  const base = caches !== undefined && caches !== '' ? caches : join(homedir(), '.cache');
  return join(base, 'treeline', 'models');
}
