/** What the kernel says of a process. Linux only: elsewhere the figures are null. */
import { readFileSync } from 'node:fs';

/** Linux counts processor time in hundredths of a second on every platform that Node runs on. */
const TICK_MS = 10;
const KIBIBYTE = 1024;

/** Processor time that the process and its threads have used so far, in milliseconds, in steps of 10. */
export function processorMs(pid: number): number | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The second field is the name in parentheses and may hold spaces; user and system time are fields 14 and 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** The most memory that the process has held so far, in bytes. */
export function peakBytes(pid: number): number | null {
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * KIBIBYTE;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
