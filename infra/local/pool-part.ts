/** The inference pool as a part of a local run: one node, built from this checkout, on loopback. */

import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { programs } from '../pool/build.ts';
import type { ServicePart } from './part.ts';
import { projectDirectory } from './paths.ts';
import { isPortFree, loopback } from './ports.ts';
import { answersOk, startService } from './service-part.ts';

/** The pool's own port, where clients look for it. */
export const poolPort = 8089;

/** How a node is started. */
export interface PoolOptions {
  readonly port: number;
  /** For its log. */
  readonly directory: string;
  /** Where it registers; null: it tells of itself alone. */
  readonly etcdUrl?: string;
  /** Where its queue is; null: it takes no jobs. */
  readonly natsUrl?: string;
  /** Further flags, as `treeline-pool --help` names them. */
  readonly flags?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Models are read and warmed up before it is ready. */
const startTimeoutMs = 180_000;

/** The flags of a node. */
export function poolFlags({ port, etcdUrl, natsUrl, flags = [] }: PoolOptions): string[] {
  return [
    ...['--listen', `${loopback}:${port}`],
    ...['--models', join(projectDirectory, 'pool/models')],
    ...['--engine-program', join(projectDirectory, programs.engine)],
    ...(etcdUrl === undefined ? [] : ['--etcd', etcdUrl]),
    ...(natsUrl === undefined ? [] : ['--nats', natsUrl]),
    ...flags,
  ];
}

/** Starts a node and answers once its models are ready. Throws with its last words where that is not so in time. */
export async function startPool(options: PoolOptions): Promise<ServicePart> {
  const { port, directory, signal } = options;
  if (!(await isPortFree(port))) throw new Error(`Port ${port} is in use by another program; the pool needs it.`);
  await mkdir(directory, { recursive: true });
  const log = createWriteStream(join(directory, 'pool.log'), { mode: 0o600 });
  const url = `http://${loopback}:${port}`;
  const service = await startService({
    title: 'The pool',
    program: join(projectDirectory, programs.server),
    parameters: poolFlags(options),
    directory: projectDirectory,
    isReady: () => answersOk(`${url}/readyz`),
    startTimeoutMs,
    onLine: (line) => void log.write(`${line}\n`),
    ...(signal === undefined ? {} : { signal }),
  });
  return { ...service, name: `pool on port ${port}`, address: { title: 'Pool', url } };
}
