/**
 * What the pool's tests need besides Go and Rust: etcd, NATS, valgrind and a C compiler. Installs what is missing where
 * that is possible, and says what is to be done elsewhere. `node infra/pool/programs.ts`
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { canInstall, installPackages } from '../local/debian-packages.ts';
import { findProgram } from '../local/programs.ts';

/** NATS by Go: Debian's is too old to write each message to disk before it confirms it. */
const natsModule = 'github.com/nats-io/nats-server/v2@v2.15.2';
const installTimeoutMs = 10 * 60_000;

/** Programs and the Debian packages that bring them. */
const packages: readonly [program: string, debian: string][] = [
  ['etcd', 'etcd-server'],
  ['valgrind', 'valgrind'],
  ['gcc', 'gcc'],
  ['g++', 'g++'],
];

async function installMissing(): Promise<string[]> {
  const found = await Promise.all(packages.map(([program]) => findProgram(program)));
  const missing = packages.filter((_, index) => found[index] === null);
  if (missing.length === 0) return [];
  const wanted = missing.map(([, debian]) => debian);
  if (!(await canInstall())) return [`Install ${wanted.join(', ')}.`];
  await installPackages(wanted);
  return [];
}

async function installNats(): Promise<string[]> {
  if ((await findProgram('nats-server')) !== null) return [];
  const command = `go install ${natsModule}`;
  if ((await findProgram('go')) === null) return [`Install Go, and NATS by: ${command}`];
  await promisify(execFile)('go', ['install', natsModule], { timeout: installTimeoutMs });
  return [];
}

const left = [...(await installMissing()), ...(await installNats())];
for (const sentence of left) console.log(sentence);
