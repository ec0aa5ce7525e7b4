/** The face of an engine in a Node process: one order a line on stdin, one outcome a line on stdout. */
import { createInterface } from 'node:readline';
import type { Engine, Order } from '../engine.ts';

/** Answers orders until stdin ends. */
export async function serve(engine: Engine): Promise<void> {
  process.stdout.write('{"ready":true}\n');
  for await (const line of createInterface({ input: process.stdin })) {
    const outcome = await engine.repeat(JSON.parse(line) as Order);
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}
