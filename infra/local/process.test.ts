import { expect, it } from 'vitest';
import { isAlive, startChild } from './process.ts';
import { describeProcess, stillRuns } from './run-file.ts';

const node = process.execPath;
const waitForever = 'setInterval(() => {}, 1000); console.log("up")';

async function startWaiting(script: string) {
  let up = () => {};
  const isUp = new Promise<void>((resolve) => {
    up = resolve;
  });
  const child = await startChild(node, ['-e', script], { onLine: (line) => line === 'up' && up() });
  await isUp;
  return child;
}

it('gives each line of the output, the last one without an end too', async () => {
  const lines: string[] = [];
  const script = 'process.stdout.write("one\\ntwo\\nth"); setTimeout(() => process.stdout.write("ree"), 20)';
  const child = await startChild(node, ['-e', script], { onLine: (line) => lines.push(line) });
  expect(await child.ended).toEqual({ code: 0, signal: null });
  await expect.poll(() => lines).toEqual(['one', 'two', 'three']);
});

it('says so where the command is not there', async () => {
  await expect(startChild('no-such-command', [], {})).rejects.toThrow('no-such-command could not be started');
});

it('ends a child politely', async () => {
  const child = await startWaiting(`process.on('SIGTERM', () => process.exit(7)); ${waitForever}`);
  expect(await child.stop('SIGTERM', 5_000)).toEqual({ code: 7, signal: null });
  expect(isAlive(child.pid)).toBe(false);
});

it('kills a child that does not listen, and is done at once where it has ended', async () => {
  const child = await startWaiting(`process.on('SIGTERM', () => {}); ${waitForever}`);
  expect(await child.stop('SIGTERM', 200)).toEqual({ code: null, signal: 'SIGKILL' });
  expect(await child.stop('SIGTERM', 60_000)).toEqual({ code: null, signal: 'SIGKILL' });
});

it('tells a process from another one with the same id', async () => {
  const child = await startWaiting(waitForever);
  const described = await describeProcess('child', child.pid);
  expect(await stillRuns(described)).toBe(true);
  expect(await stillRuns({ ...described, startedAt: 'another time' })).toBe(false);
  await child.stop('SIGTERM', 1_000);
  expect(await stillRuns(described)).toBe(false);
});
