/** Builds the pool's two programs by `pool/build.sh`, told as one step: what is being built, not all that is printed. */
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectDirectory } from '../local/paths.ts';
import { startChild } from '../local/process.ts';
import type { Step } from '../local/progress.ts';

/** Longest time that a build may take, in milliseconds: the first one compiles some hundred crates. */
const buildTimeoutMs = 60 * 60_000;
const stopGraceMs = 5_000;
const lastLinesMax = 25;

/** The programs that a build makes, relative to the checkout. */
export const programs = { server: 'pool/dist/treeline-pool', engine: 'pool/dist/treeline-engine' } as const;

/** Counts what cargo and go say, and puts it in a few words. */
export class BuildReader {
  readonly #crates: number;
  #compiled = 0;

  /** `crates`: how many the lock file names; a build makes some of them more than once, and others not at all. */
  constructor(crates: number) {
    this.#crates = crates;
  }

  /** What to show for a line of the build's output; null where it says nothing new. */
  read(line: string): string | null {
    const crate = /^\s*Compiling (\S+) v/.exec(line)?.[1];
    if (crate !== undefined) {
      this.#compiled += 1;
      return `Rust: ${crate} (${this.#compiled} of about ${this.#crates})`;
    }
    if (/^go: downloading /.test(line)) return `Go: ${line.slice('go: '.length)}`;
    return /^\s*(Downloading|Downloaded) /.test(line) ? `Rust: ${line.trim()}` : null;
  }
}

async function crateCount(): Promise<number> {
  const lock = await readFile(join(projectDirectory, 'pool/engine/Cargo.lock'), 'utf8');
  return lock.split('[[package]]').length - 1;
}

/** How a build is made. */
export interface BuildOptions {
  /** Gives it up. */
  readonly signal?: AbortSignal;
  /** True to let everything else on the machine go first. */
  readonly isPolite?: boolean;
}

/**
 * Builds; quick where nothing has changed. All that the tools print goes to `pool-build.log` in `directory`. Throws with
 * its last lines where it fails.
 */
export async function buildPool(directory: string, step: Step, options: BuildOptions = {}): Promise<void> {
  const { signal, isPolite = false } = options;
  await mkdir(directory, { recursive: true });
  const log = createWriteStream(join(directory, 'pool-build.log'), { mode: 0o600 });
  const reader = new BuildReader(await crateCount());
  const last: string[] = [];
  const script = ['bash', join(projectDirectory, 'pool/build.sh')];
  const [program = '', ...parameters] = isPolite ? ['nice', '-n', '10', ...script] : script;
  const child = await startChild(program, parameters, {
    cwd: projectDirectory,
    env: { ...process.env, CARGO_TERM_COLOR: 'never', CARGO_TERM_PROGRESS_WHEN: 'never' },
    onLine(line) {
      log.write(`${line}\n`);
      last.push(line);
      if (last.length > lastLinesMax) last.shift();
      const words = reader.read(line);
      if (words !== null) step.tell(words);
    },
  });
  // A group of its own: what the script started goes with it.
  const stop = () => {
    try {
      process.kill(-child.pid, 'SIGTERM');
    } catch {
      // It has ended at this very moment.
    }
    void child.stop('SIGTERM', stopGraceMs);
  };
  const timer = setTimeout(stop, buildTimeoutMs);
  signal?.addEventListener('abort', stop);
  if (signal?.aborted === true) stop();
  const { code } = await child.ended;
  clearTimeout(timer);
  signal?.removeEventListener('abort', stop);
  log.end();
  if (signal?.aborted === true) throw new Error('The build was given up.');
  if (code !== 0) throw new Error(`The pool could not be built.\n${last.join('\n')}`);
}
