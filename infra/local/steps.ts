/** The steps of a start: told as they begin and end, and not begun once the start was given up. */
import type { Progress, Step } from './progress.ts';

/** Runs one step, which may tell how far it is; `detail` says how it went. */
export type RunStep = <Result>(
  title: string,
  work: (step: Step) => Promise<Result>,
  detail?: (result: Result) => string,
) => Promise<Result>;

/** The start was given up by whoever asked for it. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Tells each step to `progress`, and throws `Interrupted` before one that comes after `signal`. */
export function steps(progress: Progress, signal: AbortSignal | undefined): RunStep {
  return async (title, work, detail = () => '') => {
    if (signal?.aborted === true) throw new Interrupted('The start was given up.');
    const step = progress.step(title);
    try {
      const result = await work(step);
      step.done(detail(result));
      return result;
    } catch (error) {
      step.fail(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
      throw error;
    }
  };
}
