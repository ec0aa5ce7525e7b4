/** An engine in a process of its own, given orders and watched from outside. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Order, Outcome } from './engine.ts';

/** A running process with an engine in it. */
export interface Contender {
  /** As it stands in the table, such as `onnxruntime-web, Node`. */
  readonly name: string;
  readonly pid: number;
  order(order: Order): Promise<Outcome>;
  stop(): Promise<void>;
}

const START_MS_MAX = 60_000;

/** Starts `command`, which takes an order a line on stdin. Resolves when its model is loaded. */
export async function startLines(name: string, command: string, args: readonly string[]): Promise<Contender> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const line = await lines.next();
    if (line.done) throw new Error(`${name} ended`);
    return JSON.parse(line.value);
  };
  await next();
  return {
    name,
    pid: pidOf(child),
    order: async (order) => {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      return (await next()) as Outcome;
    },
    stop: () => stop(child),
  };
}

/** Starts `command`, which takes orders by HTTP at `address`. Resolves when the model is loaded. */
export async function startHttp(
  name: string,
  command: string,
  args: readonly string[],
  address: string,
  first: Order,
): Promise<Contender> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const order = (wanted: Order): Promise<Outcome> => post(address, wanted);
  await retry(() => order(first), child, name);
  return { name, pid: pidOf(child), order, stop: () => stop(child) };
}

async function post(address: string, order: Order): Promise<Outcome> {
  const response = await fetch(address, { method: 'POST', body: JSON.stringify(order) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Outcome;
}

/** Repeats `attempt` while nobody listens yet, for `START_MS_MAX` at most. */
async function retry(attempt: () => Promise<unknown>, child: ChildProcess, name: string): Promise<void> {
  const deadline = performance.now() + START_MS_MAX;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${name} ended with status ${child.exitCode}`);
    try {
      await attempt();
      return;
    } catch (error) {
      // undici says `fetch failed` where the connection is refused; anything else is the worker's own answer.
      if (!(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`${name} did not answer within ${START_MS_MAX} ms`);
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process did not start');
  return child.pid;
}

function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill();
  });
}
