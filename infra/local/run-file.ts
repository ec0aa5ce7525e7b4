/**
 * What is running, in a file: so that `make stop` finds it, a second start does not disturb it, and what a killed start
 * left behind is cleaned up. A process id alone may by now belong to another program; so its start time is kept too.
 */
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { addressSchema } from './address.ts';
import { isAlive, stopProcess } from './process.ts';
import { readFileIfThere, writeSecretFile } from './secret-file.ts';

const processSchema = z.object({ name: z.string(), pid: z.int().positive(), startedAt: z.string() });
const runSchema = z.object({
  main: processSchema,
  children: z.array(processSchema),
  url: z.string(),
  ready: z.boolean(),
  /** Services besides the edge, for people. */
  addresses: z.array(addressSchema).default([]),
});

/** A process, told apart from a later one with the same id. */
export type RunningProcess = z.infer<typeof processSchema>;
/** One local run. */
export type Run = z.infer<typeof runSchema>;

const fileName = 'run.json';
const startTimeField = 21;
const stopGraceMs = 10_000;

/** When the process began, as the system tells it; empty where it does not run. */
async function startTimeOf(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    // The program's name, in parentheses, may hold blanks: the fields begin after it.
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[startTimeField - 2] ?? '';
  }
  const ps = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return ps.stdout.trim();
}

/** Describes the process `pid` as it runs now. */
export async function describeProcess(name: string, pid: number): Promise<RunningProcess> {
  return { name, pid, startedAt: await startTimeOf(pid) };
}

/** Whether that very process still runs. */
export async function stillRuns({ pid, startedAt }: RunningProcess): Promise<boolean> {
  return isAlive(pid) && startedAt !== '' && (await startTimeOf(pid)) === startedAt;
}

/** The run that `directory` tells of, or null. A file that cannot be read counts as none. */
export async function readRun(directory: string): Promise<Run | null> {
  const text = await readFileIfThere(join(directory, fileName));
  try {
    return text === null ? null : runSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

export async function writeRun(directory: string, run: Run): Promise<void> {
  await writeSecretFile(join(directory, fileName), `${JSON.stringify(run, null, 2)}\n`);
}

export async function removeRun(directory: string): Promise<void> {
  await rm(join(directory, fileName), { force: true });
}

/** Ends what a start that was killed left running, last started first. Returns the names. */
export async function stopLeftovers({ children }: Run): Promise<string[]> {
  const stopped: string[] = [];
  for (const child of [...children].reverse()) {
    if (!(await stillRuns(child))) continue;
    await stopProcess(child.pid, 'SIGINT', stopGraceMs);
    stopped.push(child.name);
  }
  return stopped;
}
