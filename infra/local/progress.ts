/** Tells a person what is going on: one line a step, a bar where there is something to measure. */
import { performance } from 'node:perf_hooks';

/** A step under way. Exactly one of `done` and `fail` ends it. */
export interface Step {
  /** How far it is: bytes or pieces done, out of how many. */
  advance(done: number, total: number): void;
  /** What it is at, in words, where there are no bytes to measure. */
  tell(words: string): void;
  done(detail?: string): void;
  fail(reason: string): void;
}

/** Where steps are told. */
export interface Progress {
  step(title: string): Step;
  note(text: string): void;
}

/** The part of a terminal that is needed. */
export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const barCells = 24;
/** Milliseconds between two drawings of a bar; on a terminal that keeps all lines, between two lines. */
const redrawMs = 100;
const relineMs = 5_000;
const clearLine = '\r\u001b[2K';
const mebibyte = 1024 * 1024;

/** `[########----------------]  33 %  26.5 of 79.6 MiB`. */
export function bar(done: number, total: number): string {
  const fraction = total > 0 ? Math.min(done / total, 1) : 0;
  const cells = Math.floor(fraction * barCells);
  const amount = `${(done / mebibyte).toFixed(1)} of ${(total / mebibyte).toFixed(1)} MiB`;
  const percent = String(Math.floor(fraction * 100)).padStart(3);
  return `[${'#'.repeat(cells)}${'-'.repeat(barCells - cells)}] ${percent} %  ${amount}`;
}

/** Progress on a terminal, or as plain lines where the output is a file. */
export function terminalProgress(terminal: Terminal): Progress {
  const live = terminal.isTTY === true;
  return {
    note: (text) => void terminal.write(`${text}\n`),
    step(title) {
      const begun = performance.now();
      let drawn = begun;
      if (live) terminal.write(`  ${title} …`);
      const end = (mark: string, detail: string) => {
        const seconds = ((performance.now() - begun) / 1000).toFixed(1);
        const text = `${mark} ${title}${detail === '' ? '' : `: ${detail}`}  (${seconds} s)\n`;
        terminal.write(live ? clearLine + text : text);
      };
      const show = (words: () => string) => {
        const now = performance.now();
        if (now - drawn < (live ? redrawMs : relineMs)) return;
        drawn = now;
        terminal.write(live ? `${clearLine}  ${title} ${words()}` : `  ${title} ${words()}\n`);
      };
      return {
        advance: (done, total) => show(() => bar(done, total)),
        tell: (words) => show(() => words),
        done: (detail = '') => end('✓', detail),
        fail: (reason) => end('✗', reason),
      };
    },
  };
}

/** Progress that nobody sees, for tests. */
export const silentProgress: Progress = {
  note: () => undefined,
  step: () => ({ advance: () => undefined, tell: () => undefined, done: () => undefined, fail: () => undefined }),
};
