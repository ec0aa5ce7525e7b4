/** The pool as the benchmark starts it: the built server on a free port of this machine. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, loopback } from '../../infra/local/ports.ts';

const root = join(import.meta.dirname, '..', '..');
/** The pool as `pool/build.sh` leaves it. */
export const builtServer = join(root, 'pool', 'dist', 'treeline-pool');
const readyTimeoutMs = 120_000;
const stopTimeoutMs = 30_000;
const pollMs = 100;
const lastLinesMax = 20;

/** A running server. */
export interface Server {
  readonly url: string;
  /** Null where it was not started here. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** Starts the pool with `parameters` and answers once its models are loaded. */
export async function startServer(parameters: readonly string[], program = builtServer): Promise<Server> {
  if (!existsSync(program)) throw new Error('The pool is not built yet: make pool ARGS=--build-only');
  const url = `http://${loopback}:${await freePort()}`;
  const child = spawn(program, ['--listen', new URL(url).host, '--models', 'pool/models', ...parameters], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      last.push(...text.trimEnd().split('\n'));
      last.splice(0, last.length - lastLinesMax);
    });
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await ended;
    clearTimeout(timer);
  };
  const giveUpAt = performance.now() + readyTimeoutMs;
  while (!(await isReady(url))) {
    if (child.exitCode !== null || performance.now() > giveUpAt) {
      await stop();
      throw new Error(`The pool did not become ready:\n${last.join('\n')}`);
    }
    await delay(pollMs);
  }
  return { url, pid: child.pid ?? null, stop };
}
