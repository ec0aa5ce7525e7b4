/** Starts in the background: the same command as a process of its own, of which only the beginning is waited for. */
import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { developmentTenant } from './development-tenant.ts';
import { makeStateDirectory, stateDirectory } from './paths.ts';
import { readRun } from './run-file.ts';

const pollMs = 100;
/** Models may have to be fetched first. */
const startTimeoutMs = 30 * 60_000;

/** Passes on what the log at `path` has gained since the last time, up to the end of its first paragraph: the steps. */
function stepsOf(path: string, write: (text: string) => void): () => Promise<void> {
  let shown = 0;
  return async () => {
    const steps = (await readFile(path, 'utf8')).split('\n\n')[0] ?? '';
    if (steps.length > shown) write(steps.slice(shown));
    shown = Math.max(shown, steps.length);
  };
}

/** Starts `script` and answers once its stack is ready. Throws with all that it printed where it ends before. */
export async function startDetached(script: string, parameters: readonly string[], write: (text: string) => void) {
  await makeStateDirectory();
  const log = join(stateDirectory, 'start.log');
  const file = await open(log, 'w', 0o600);
  const child = spawn(process.execPath, [script, ...parameters], {
    detached: true,
    stdio: ['ignore', file.fd, file.fd],
  });
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  const showSteps = stepsOf(log, write);
  for (let waitedMs = 0; waitedMs < startTimeoutMs; waitedMs += pollMs) {
    const run = await readRun(stateDirectory);
    await showSteps();
    if (run?.main.pid === child.pid && run?.ready === true) {
      child.unref();
      await file.close();
      const { key } = await developmentTenant(stateDirectory);
      return { url: run.url, key, log, addresses: run.addresses };
    }
    if (ended) throw new Error((await readFile(log, 'utf8')).trim());
    await delay(pollMs);
  }
  throw new Error(`It did not become ready; see ${log}.`);
}
