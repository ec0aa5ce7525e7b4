/** Processor time and memory of a process with all that it started. Linux only: elsewhere the figures are 0. */
import { readdirSync, readFileSync } from 'node:fs';
import { processorMs } from '../inference/process.ts';

const kibibyte = 1024;

/** What a family of processes uses. */
export interface Usage {
  /** Processor time so far, of those that still run, in milliseconds. */
  readonly cpuMs: number;
  /** Memory that is theirs alone or shared, each page counted once a process, in bytes. */
  readonly residentBytes: number;
  readonly processes: number;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The second field of /proc/…/stat is the name in parentheses and may hold spaces. */
const statFields = (pid: number): string[] => {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
};

/** `pid` and its descendants. */
function family(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statFields(Number(name))[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found: number[] = [];
  const waiting = [pid];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    found.push(next);
    waiting.push(...(children.get(next) ?? []));
  }
  return found;
}

/** One of a family of processes. */
export interface Member {
  readonly pid: number;
  readonly name: string;
  /** Its own memory and what it shares, in bytes. */
  readonly residentBytes: number;
}

const residentBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * kibibyte;

/** `pid` and its descendants with their memory now; none elsewhere than on Linux. */
export function members(pid: number): Member[] {
  if (process.platform !== 'linux') return [];
  return family(pid).map((one) => ({
    pid: one,
    name: read(`/proc/${one}/comm`).trim(),
    residentBytes: residentBytes(one),
  }));
}

/** What `pid` and its descendants use now. */
export function usage(pid: number): Usage {
  if (process.platform !== 'linux') return { cpuMs: 0, residentBytes: 0, processes: 0 };
  let cpuMs = 0;
  let bytes = 0;
  const pids = family(pid);
  for (const one of pids) {
    cpuMs += processorMs(one) ?? 0;
    bytes += residentBytes(one);
  }
  return { cpuMs, residentBytes: bytes, processes: pids.length };
}
