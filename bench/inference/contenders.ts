/** Who takes part, and how each is started. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Contender, startHttp, startLines } from './contender.ts';
import type { Form, Order, Workload } from './engine.ts';
import {
  HERE,
  ONNX_FOLDER,
  ONNX_MODEL,
  ONNX_MODULE,
  STATIC_MODEL,
  TREELINE_MODEL,
  TREELINE_MODULES,
  WORKERD,
  WORKSPACE,
} from './places.ts';
import { prepareWorker, type WorkerSource } from './workerd/prepare.ts';

/** The parts of the comparison: who computes, and where. */
export interface Entrant {
  readonly engine: 'treeline' | 'treeline (plain SIMD)' | 'onnxruntime-web' | 'onnxruntime';
  readonly host: 'node' | 'workerd' | 'native';
  readonly forms: readonly Form[];
  /** Null where the engine does not start from nothing in workerd. */
  readonly worker: WorkerSource | null;
  start(first: Workload): Promise<Contender>;
}

const workers = join(WORKSPACE, 'workerd');

/** A worker that does nothing, for cold start. */
export const emptyWorker: WorkerSource = {
  name: 'empty',
  entry: join(HERE, 'workerd/empty.ts'),
  module: null,
  files: ONNX_FOLDER,
};

const onnxWorker: WorkerSource = {
  name: 'onnx',
  entry: join(HERE, 'workerd/onnx.ts'),
  module: ONNX_MODULE,
  files: ONNX_FOLDER,
};

/** The command that serves `source`, its bundle made, on a port that was free a moment ago. */
export async function workerCommand(source: WorkerSource): Promise<{ args: string[]; address: string }> {
  const port = await freePort();
  const configuration = await prepareWorker(source, port, workers);
  return { args: ['serve', configuration], address: `http://127.0.0.1:${port}/` };
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function inWorkerd(engine: Entrant['engine'], worker: WorkerSource, forms: readonly Form[]): Entrant {
  return {
    engine,
    host: 'workerd',
    forms,
    worker,
    start: async (first) => {
      const { args, address } = await workerCommand(worker);
      const order: Order = { workload: first, form: 'ids', iterations: 1 };
      return startHttp(`${engine}, workerd`, WORKERD, args, address, order);
    },
  };
}

function inNode(engine: Entrant['engine'], script: string, args: readonly string[], forms: readonly Form[]): Entrant {
  return {
    engine,
    host: 'node',
    forms,
    worker: null,
    start: () => startLines(`${engine}, Node`, process.execPath, [join(HERE, 'node', script), ...args]),
  };
}

/** Native ONNX Runtime, in the Python at `python`. */
export function nativeEntrant(python: string): Entrant {
  return {
    engine: 'onnxruntime',
    host: 'native',
    forms: ['ids'],
    worker: null,
    start: () => startLines('onnxruntime, native', python, ['-B', join(HERE, 'native.py'), ONNX_MODEL]),
  };
}

/** onnxruntime-web. */
export const webEntrants: readonly Entrant[] = [
  inNode('onnxruntime-web', 'onnx.ts', [ONNX_MODEL], ['ids']),
  inWorkerd('onnxruntime-web', onnxWorker, ['ids']),
];

/** The product's module, with relaxed SIMD where `build` says so, in Node and in workerd. */
export function treelineEntrants(build: keyof typeof TREELINE_MODULES): Entrant[] {
  const small = existsSync(STATIC_MODEL);
  const forms: readonly Form[] = small ? ['ids', 'texts', 'static'] : ['ids', 'texts'];
  const engine = build === 'relaxed' ? 'treeline' : 'treeline (plain SIMD)';
  const module = TREELINE_MODULES[build];
  const worker: WorkerSource = {
    name: `treeline-${build}`,
    entry: join(HERE, 'workerd/treeline.ts'),
    module,
    files: gathered(),
  };
  const args = small ? [module, TREELINE_MODEL, STATIC_MODEL] : [module, TREELINE_MODEL];
  return [inNode(engine, 'treeline.ts', args, forms), inWorkerd(engine, worker, forms)];
}

/** A folder in which both model files have the names that the worker asks for. */
function gathered(): string {
  const folder = join(WORKSPACE, 'treeline');
  mkdirSync(folder, { recursive: true });
  const files = { 'large.tlm': TREELINE_MODEL, 'static.tlm': STATIC_MODEL };
  for (const [name, source] of Object.entries(files)) {
    const path = join(folder, name);
    rmSync(path, { force: true });
    if (existsSync(source)) copyFileSync(source, path);
  }
  return folder;
}
