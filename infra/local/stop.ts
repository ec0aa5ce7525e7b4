/** `npm run stop`: ends the start that runs on this checkout, or what a killed one left behind. */
import { setTimeout as delay } from 'node:timers/promises';
import { stateDirectory } from './paths.ts';
import { readRun, removeRun, stillRuns, stopLeftovers } from './run-file.ts';

const stopTimeoutMs = 30_000;
const pollMs = 100;

async function main(): Promise<number> {
  const run = await readRun(stateDirectory);
  if (run === null) {
    console.log('Nothing is running.');
    return 0;
  }
  if (await stillRuns(run.main)) {
    process.kill(run.main.pid, 'SIGTERM');
    for (let waitedMs = 0; waitedMs < stopTimeoutMs && (await stillRuns(run.main)); waitedMs += pollMs) {
      await delay(pollMs);
    }
    if (await stillRuns(run.main)) {
      console.error(`Process ${run.main.pid} did not end within ${stopTimeoutMs / 1000} seconds.`);
      return 1;
    }
  }
  const left = await stopLeftovers(run);
  await removeRun(stateDirectory);
  console.log(left.length === 0 ? 'Stopped.' : `Stopped, with what was left over: ${left.join(', ')}.`);
  return 0;
}

process.exitCode = await main();
