/**
 * Runs the pool in front of a real Triton: `node tests/conformance/triton/run.ts`
 *
 * PyPI's nvidia-pytriton carries Triton's own server for x86-64 with its Python backend, which also runs without a GPU. It is
 * fetched once (55 MB, and 18 MB of the numpy that it was built for) into `.treeline/triton`. Besides, the machine needs
 * the shared library of Python (Debian: libpython3.11).
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectDirectory } from '../../../infra/local/paths.ts';
import { startPool } from '../../../infra/local/pool-part.ts';
import { freePort, loopback } from '../../../infra/local/ports.ts';
import { answersOk, startService } from '../../../infra/local/service-part.ts';
import { runShown } from '../pool/run-shown.ts';

const run = promisify(execFile);
const python = process.env.TREELINE_PYTHON ?? join(projectDirectory, '.venv/bin/python');
const home = join(projectDirectory, '.treeline/triton');
const server = join(home, 'pytriton/tritonserver');
/** Triton's Python backend reads numpy's types as numpy 1 lays them out. */
const packages = ['nvidia-pytriton==0.7.0', 'numpy==1.26.4'];

/** Fetches Triton once, and lays the helper of its Python backend for our Python where it looks for it. */
async function fetchTriton(): Promise<void> {
  const helper = join(server, 'backends/python/triton_python_backend_stub');
  if (await stat(helper).catch(() => null)) return;
  await mkdir(home, { recursive: true });
  await run(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', home, ...packages]);
  const print = "import sys; print('{}.{}'.format(*sys.version_info))";
  const version = (await run(python, ['-c', print])).stdout.trim();
  await copyFile(join(server, 'python_backend_stubs', version, 'triton_python_backend_stub'), helper);
}

/** Datatypes that go through Triton and numpy as they are, and Triton's names of them. */
const datatypes = {
  BOOL: 'TYPE_BOOL',
  UINT8: 'TYPE_UINT8',
  INT32: 'TYPE_INT32',
  INT64: 'TYPE_INT64',
  FP16: 'TYPE_FP16',
  FP32: 'TYPE_FP32',
  FP64: 'TYPE_FP64',
  BYTES: 'TYPE_STRING',
} as const;

/** A model that gives its inputs back, after a pause where the call asks for one in seconds. */
async function makeRepository(folder: string): Promise<string> {
  const repository = join(folder, 'models');
  await mkdir(join(repository, 'echo/1'), { recursive: true });
  const tensors = (name: string) =>
    Object.entries(datatypes).map(
      ([kind, type]) => `{ name: "${name}_${kind}" data_type: ${type} dims: [ -1, 2 ] optional: true }`,
    );
  const pause = '{ name: "PAUSE" data_type: TYPE_FP32 dims: [ 1 ] optional: true }';
  const configuration = `backend: "python"
input [ ${[...tensors('INPUT'), pause].join(', ')} ]
output [ ${tensors('OUTPUT').join(', ').replaceAll(' optional: true', '')} ]
`;
  const model = `import sys
import time

sys.path.append(${JSON.stringify(home)})
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        outputs = []
        for tensor in request.inputs():
            if tensor.name() == "PAUSE":
                time.sleep(float(tensor.as_numpy()[0]))
            else:
                outputs.append(backend.Tensor(tensor.name().replace("INPUT", "OUTPUT"), tensor.as_numpy()))
        return backend.InferenceResponse(output_tensors=outputs)
`;
  await writeFile(join(repository, 'echo/config.pbtxt'), configuration);
  await writeFile(join(repository, 'echo/1/model.py'), model);
  return repository;
}

async function startTriton(folder: string) {
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const url = `http://${loopback}:${http}`;
  const ports = { http, grpc, metrics };
  const triton = await startService({
    title: 'Triton',
    program: join(server, 'bin/tritonserver'),
    parameters: [
      ...['--model-repository', await makeRepository(folder)],
      ...['--backend-directory', join(server, 'backends')],
      ...['--model-control-mode', 'explicit'],
      ...Object.entries(ports).flatMap(([name, port]) => [`--${name}-address`, loopback, `--${name}-port`, `${port}`]),
    ],
    directory: folder,
    isReady: () => answersOk(`${url}/v2/health/ready`),
  });
  return { ...triton, url, metricsUrl: `http://${loopback}:${metrics}/metrics` };
}

await fetchTriton();
const folder = await mkdtemp(join(tmpdir(), 'treeline-triton-'));
try {
  const triton = await startTriton(folder);
  try {
    const upstream = { name: 'triton', kind: 'triton', url: triton.url, metrics_url: triton.metricsUrl };
    const configuration = join(folder, 'upstreams.json');
    await writeFile(configuration, JSON.stringify({ upstreams: [upstream] }));
    const flags = ['--engine', 'none', '--config', configuration];
    const pool = await startPool({ port: await freePort(), directory: folder, flags });
    try {
      const variables = { POOL_URL: pool.address.url, TRITON_URL: triton.url, TRITON_PID: `${triton.pid}` };
      const pytest = ['-B', '-m', 'pytest', '-q', '--tb=short', '-p', 'no:cacheprovider', 'tests/conformance/triton'];
      [, process.exitCode] = await runShown(python, pytest, variables);
    } finally {
      await pool.stop();
    }
  } finally {
    await triton.stop();
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
