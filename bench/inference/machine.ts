/** On what the figures were measured. */
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { REPOSITORY } from './places.ts';

/** Instruction sets that decide how fast int8 products are. */
const TELLING = ['avx2', 'avx512f', 'avx_vnni', 'avx512_vnni', 'amx_int8', 'asimddp'];

/** One sentence about the machine and the versions. */
export function machine(): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const processor = `${first?.model ?? 'unknown processor'} (${cpus().length} cores; ${flags().join(', ') || arch()})`;
  const packages = ['workerd', 'onnxruntime-web'].map((name) => `${name} ${version(name)}`);
  const versions = [`Node ${process.versions.node} (V8 ${process.versions.v8})`, ...packages].join(', ');
  return `${processor}, ${memory} GiB, ${platform()}; ${versions}.`;
}

function flags(): string[] {
  if (platform() !== 'linux') return [];
  const present = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '));
  return TELLING.filter((flag) => present.has(flag));
}

function version(name: string): string {
  const text = readFileSync(join(REPOSITORY, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
