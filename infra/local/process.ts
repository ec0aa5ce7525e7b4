/** Child processes: started apart from the terminal's own group, ended by process id, first politely. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

/** How a child ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child process. */
export interface Child {
  readonly pid: number;
  /** Resolves when the process is gone; never rejects. */
  readonly ended: Promise<Ending>;
  /** Sends `signal`, waits `graceMs`, and kills what is still there. Does nothing where it has ended. */
  stop(signal: NodeJS.Signals, graceMs: number): Promise<Ending>;
}

const pollMs = 50;

/** Children that have not ended. When we end in a hurry (a second Ctrl-C, an error nobody caught) they go with us. */
const living = new Set<number>();
process.once('exit', () => {
  for (const pid of living) {
    try {
      // The whole process group: what the child started itself goes as well.
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended at this very moment.
    }
  }
});

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Sends `signal` to the process `pid`, and SIGKILL where it is still there after `graceMs`. */
export async function stopProcess(pid: number, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  const send = (which: NodeJS.Signals) => {
    try {
      process.kill(pid, which);
    } catch {
      // It has ended in the meantime, which is what we want.
    }
  };
  send(signal);
  for (let waitedMs = 0; waitedMs < graceMs && isAlive(pid); waitedMs += pollMs) await delay(pollMs);
  if (isAlive(pid)) send('SIGKILL');
}

/**
 * Starts `command` and gives each line of its output to `onLine`. It gets a process group of its own, so that a Ctrl-C
 * in the terminal reaches only us, and we end our children in the right order. Throws where it cannot be started.
 */
export async function startChild(
  command: string,
  parameters: readonly string[],
  options: SpawnOptions & { onLine?: (line: string) => void },
): Promise<Child> {
  const { onLine, ...spawnOptions } = options;
  const child = spawn(command, parameters, { ...spawnOptions, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: null, signal: null }));
  });
  readLines(child, onLine);
  const pid = await startedPid(child, command);
  living.add(pid);
  void ended.then(() => living.delete(pid));
  const stop = async (signal: NodeJS.Signals, graceMs: number): Promise<Ending> => {
    if (child.exitCode === null && child.signalCode === null) await stopProcess(pid, signal, graceMs);
    return ended;
  };
  return { pid, ended, stop };
}

function startedPid(child: ChildProcess, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new Error(`${command} could not be started: ${cause.message}`, { cause })));
    child.once('spawn', () => resolve(child.pid ?? 0));
  });
}

/** A line longer than this is passed on in pieces, so that a child cannot fill our memory. */
const lineBytesMax = 64 * 1024;

function readLines(child: ChildProcess, onLine: ((line: string) => void) | undefined): void {
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine?.(line);
      if (rest.length > lineBytesMax) {
        onLine?.(rest);
        rest = '';
      }
    });
    stream.on('end', () => {
      if (rest !== '') onLine?.(rest);
    });
  }
}
