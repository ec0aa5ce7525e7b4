/** A server program of the machine's as a part of a local run: started, waited for, watched and stopped. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Part } from './part.ts';
import { startChild } from './process.ts';

/** How a service is started. */
export interface ServiceOptions {
  /** What people call it, for messages. */
  readonly title: string;
  readonly program: string;
  readonly parameters: readonly string[];
  /** Its working directory. */
  readonly directory: string;
  /** Whether it serves by now; asked again and again until it does. */
  readonly isReady: () => Promise<boolean>;
  /** Longest time until it serves, in milliseconds; half a minute where not given. */
  readonly startTimeoutMs?: number;
  /** Called with each line that it prints. */
  readonly onLine?: (line: string) => void;
  /** Its variables, besides ours. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends the wait for it to become ready. */
  readonly signal?: AbortSignal;
}

const startTimeoutMsDefault = 30_000;
const pollMs = 50;
const probeTimeoutMs = 2_000;
const stopGraceMs = 10_000;
const lastLinesMax = 10;

/** Whether a GET of `address` is answered with 200. */
export async function answersOk(address: string): Promise<boolean> {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(probeTimeoutMs) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** Starts the service and answers once it is ready. Throws with its last words where it ends or is not in time. */
export async function startService(options: ServiceOptions): Promise<Omit<Part, 'name'>> {
  const { title, program, parameters, directory, isReady, environment, signal } = options;
  const startTimeoutMs = options.startTimeoutMs ?? startTimeoutMsDefault;
  const last: string[] = [];
  const onLine = (line: string) => {
    options.onLine?.(line);
    last.push(line);
    if (last.length > lastLinesMax) last.shift();
  };
  const child = await startChild(program, parameters, {
    cwd: directory,
    ...(environment === undefined ? {} : { env: { ...process.env, ...environment } }),
    onLine,
  });
  let gone = false;
  let stopping = false;
  const failed = new Promise<string>((resolve) => {
    void child.ended.then(({ code, signal }) => {
      gone = true;
      if (!stopping) resolve([`${title} ended by itself (${signal ?? `code ${code}`}).`, ...last].join('\n'));
    });
  });
  const stop = async () => {
    stopping = true;
    await child.stop('SIGTERM', stopGraceMs);
  };
  const giveUpAt = Date.now() + startTimeoutMs;
  while (!(await isReady())) {
    if (gone || signal?.aborted === true || Date.now() > giveUpAt) {
      await stop();
      const what = gone ? 'ended while it started' : `did not answer within ${startTimeoutMs / 1000} s`;
      throw new Error([`${title} ${what}.`, ...last].join('\n'));
    }
    await delay(pollMs);
  }
  // What answered may be another program that took the port just before.
  if (gone) throw new Error([`${title} ended while it started.`, ...last].join('\n'));
  return { pid: child.pid, failed, stop };
}
