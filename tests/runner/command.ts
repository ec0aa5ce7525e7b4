/** Runs one command of a stage: bounded in time, its output kept and, where asked for, shown. */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { modelCacheDirectory } from '../../infra/models/cache.ts';

/** How a command ended. */
export interface Ended {
  readonly exitCode: number;
  /** What it printed, both streams, as it came. */
  readonly output: string;
}

/** Characters of output that are kept; the beginning is dropped first. */
const outputMax = 16 * 1_048_576;

const projectBin = join(process.cwd(), 'node_modules/.bin');

/** The environment of every command: the project's own tools first, no colours, no questions. */
const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: [projectBin, process.env.PATH ?? ''].join(delimiter),
  // Tests of the real weights read them where the stage before has put them.
  TREELINE_MODEL_DIRECTORY: modelCacheDirectory(),
  NO_COLOR: '1',
  FORCE_COLOR: '0',
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_HIDE_BANNER: 'true',
};

/** Whether `program` can be run by its name. */
export const isInstalled = (program: string): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

/** Runs `command` in `folder`; after `limitMs` it and what it started are ended, and count as failed. */
export function runCommand(
  command: readonly string[],
  folder: string,
  limitMs: number,
  logPath: string,
): Promise<Ended> {
  const [program = '', ...parameters] = command;
  const log = createWriteStream(logPath, { flags: 'a' });
  return new Promise((resolve) => {
    let output = '';
    const keep = (text: string): void => {
      log.write(text);
      output = (output + text).slice(-outputMax);
    };
    // A group of its own, so that a stage that hangs goes with everything that it started.
    const child = spawn(program, parameters, {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const end = (signal: NodeJS.Signals): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It has ended by itself.
      }
    };
    const onInterrupt = (): void => {
      end('SIGTERM');
      process.exit(130);
    };
    process.once('SIGINT', onInterrupt);
    process.once('SIGTERM', onInterrupt);
    const timer = setTimeout(() => {
      keep(`\nstopped: it took longer than ${limitMs / 1e3} s\n`);
      end('SIGTERM');
      setTimeout(() => end('SIGKILL'), 10_000).unref();
    }, limitMs);
    const finish = (exitCode: number): void => {
      clearTimeout(timer);
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onInterrupt);
      log.end();
      resolve({ exitCode, output });
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', keep);
    child.once('error', (error) => {
      keep(`${error.message}\n`);
      finish(127);
    });
    child.once('close', (code) => finish(code ?? 1));
  });
}
