/** From nothing to the first embedding: workerd is started, and asked at once. */
import { type Contender, startHttp } from './contender.ts';
import type { Order } from './engine.ts';
import { median } from './measure.ts';
import { peakBytes } from './process.ts';

/** What a fresh process took and held. */
export interface ColdStart {
  /** Median milliseconds from starting the process until its first answer was read. */
  readonly firstAnswerMs: number;
  /** Most memory of the process after that answer, in bytes; null where the kernel does not tell. */
  readonly peakBytes: number | null;
}

/** Starts `command` `times` times, and each time has it carry out `order` first. */
export async function coldStart(
  command: string,
  args: readonly string[],
  address: string,
  order: Order,
  times: number,
): Promise<ColdStart> {
  const took: number[] = [];
  let peak: number | null = null;
  for (let time = 0; time < times; time++) {
    const started = performance.now();
    const contender: Contender = await startHttp('workerd', command, args, address, order);
    took.push(performance.now() - started);
    peak = peakBytes(contender.pid);
    await contender.stop();
  }
  return { firstAnswerMs: median(took), peakBytes: peak };
}
