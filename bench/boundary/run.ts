/**
 * What it costs to cross from JavaScript into WebAssembly and back, in nanoseconds a call.
 *
 *   node bench/boundary/run.ts
 *   deno run --allow-read --allow-sys bench/boundary/run.ts
 *
 * Each case runs for several rounds. The one that took the least CPU time stands for it: whatever else the machine does
 * can only slow a round down. CPU time is the process's own, with its garbage collection and compilation.
 */
import process from 'node:process';
import { type Case, cases } from './cases.ts';

const rounds = 7;
/** Each round takes about this long, in milliseconds. */
const roundMs = 150;

interface Cost {
  readonly wallNs: number;
  readonly cpuNs: number;
}

/** Where results go, so that no engine can leave a call out. */
let sink = 0;

function round({ call }: Case, calls: number): Cost {
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let at = 0; at < calls; at++) sink += call(at);
  const wallMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { wallNs: (wallMs * 1e6) / calls, cpuNs: ((user + system) * 1e3) / calls };
}

function measure(measured: Case): Cost & { calls: number } {
  let calls = 1_000;
  // Also warms up: the engine has compiled the loop by the time that a round takes long enough.
  for (let cost = round(measured, calls); cost.wallNs * calls < roundMs * 1e6; cost = round(measured, calls))
    calls *= 2;
  const costs = Array.from({ length: rounds }, () => round(measured, calls)).sort((a, b) => a.cpuNs - b.cpuNs);
  const [best] = costs;
  if (best === undefined) throw new Error('no round was run');
  return { ...best, calls };
}

const host = 'Deno' in globalThis ? `Deno ${process.versions.deno}` : `Node ${process.versions.node}`;
console.log(`${host}, V8 ${process.versions.v8}; best of ${rounds} rounds\n`);
console.log(`| crossing | wall, ns | CPU, ns | calls a round |\n|---|---:|---:|---:|`);
for (const measured of await cases()) {
  const { wallNs, cpuNs, calls } = measure(measured);
  console.log(`| ${measured.name} | ${shown(wallNs)} | ${shown(cpuNs)} | ${calls.toLocaleString('en')} |`);
}
if (Number.isNaN(sink)) throw new Error('a call gave no number');

function shown(nanoseconds: number): string {
  return nanoseconds < 100 ? nanoseconds.toFixed(1) : Math.round(nanoseconds).toLocaleString('en');
}
