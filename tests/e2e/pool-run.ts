/** Real nodes of the pool on free ports, with a real etcd where they are to find each other. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EdgeHost } from '../../infra/local/edge-part.ts';
import { startEtcd } from '../../infra/local/etcd-part.ts';
import type { ServicePart } from '../../infra/local/part.ts';
import { projectDirectory } from '../../infra/local/paths.ts';
import { startPool } from '../../infra/local/pool-part.ts';
import { freePort } from '../../infra/local/ports.ts';
import { findProgram } from '../../infra/local/programs.ts';
import { silentProgress } from '../../infra/local/progress.ts';
import { type Stack, startStack } from '../../infra/local/stack.ts';
import { ensurePoolFiles } from '../../infra/models/fetch.ts';
import { programs } from '../../infra/pool/build.ts';

/** The chat model that every test asks. */
export const chatModel = 'smollm2-135m-instruct';

/** Why the pool cannot be run here; empty where it can. On CI it must. */
export function missingPool(): string {
  const isBuilt = Object.values(programs).every((path) => existsSync(join(projectDirectory, path)));
  return isBuilt || process.env.CI !== undefined ? '' : '(not built: make pool ARGS=--build-only)';
}

/** Nodes that run, and what they register with. */
export class PoolRun {
  readonly directory: string;
  readonly #etcd: ServicePart;
  readonly #nodes: ServicePart[] = [];

  private constructor(directory: string, etcd: ServicePart) {
    this.directory = directory;
    this.#etcd = etcd;
  }

  /** Starts etcd; nodes are added by `addNode`. */
  static async start(): Promise<PoolRun> {
    if ((await findProgram('etcd')) === null) throw new Error('etcd is not installed: node infra/pool/programs.ts');
    await ensurePoolFiles(silentProgress);
    const directory = await mkdtemp(join(tmpdir(), 'treeline-pool-'));
    return new PoolRun(directory, await startEtcd(directory));
  }

  /** Starts one more node, registered, and returns it once its models are ready. */
  async addNode(...flags: string[]): Promise<ServicePart> {
    const number = this.#nodes.length;
    const node = await startPool({
      port: await freePort(),
      directory: join(this.directory, `node-${number}`),
      etcdUrl: this.#etcd.address.url,
      flags: ['--threads', '1', ...flags],
    });
    this.#nodes.push(node);
    return node;
  }

  /** Starts an edge that reads the directory of `node`. Its caller stops it before this. */
  async startEdge(host: EdgeHost, node: ServicePart): Promise<Stack> {
    return startStack({
      host,
      port: await freePort(),
      directory: join(this.directory, 'edge'),
      models: false,
      environment: { POOL_DIRECTORY_URL: node.address.url },
    });
  }

  /** The same without a model, for what needs the engine alone. */
  async addEmptyNode(): Promise<ServicePart> {
    const folder = join(this.directory, 'no-models');
    await mkdir(folder, { recursive: true });
    return this.addNode('--models', folder);
  }

  async stop(): Promise<void> {
    for (const part of [...this.#nodes].reverse()) await part.stop();
    await this.#etcd.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
