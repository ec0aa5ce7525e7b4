/** From nothing to the first embedding: workerd is started, and asked at once. */
import { type Contender, startHttp } from './contender.ts';
import type { Order } from './engine.ts';
import { median } from './measure.ts';
import { peakBytes, processorMs } from './process.ts';

/** What a fresh process took and held. */
export interface ColdStart {
  /** Median milliseconds from starting the process until its first answer was read. */
  readonly firstAnswerMs: number;
  /** Least processor time of the process until then, in milliseconds; null where the kernel does not tell. */
  readonly cpuMs: number | null;
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
  const worked: number[] = [];
  let peak: number | null = null;
  for (let time = 0; time < times; time++) {
    const started = performance.now();
    const contender: Contender = await startHttp('workerd', command, args, address, order);
    took.push(performance.now() - started);
    const cpuMs = processorMs(contender.pid);
    if (cpuMs !== null) worked.push(cpuMs);
    peak = peakBytes(contender.pid);
    await contender.stop();
  }
  return { firstAnswerMs: median(took), cpuMs: worked.length === 0 ? null : Math.min(...worked), peakBytes: peak };
}
