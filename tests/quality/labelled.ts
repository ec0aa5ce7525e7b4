/**
 * Pairs with people's judgements of their likeness, from test data that the package gensim carries: SimLex-999 and
 * WordSim-353 (words), and Lee, Pincombe and Welsh's 50 news summaries, each compared with every other. The texts are
 * other people's, so they are read out of the package where the tests run, and not kept here.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import { modelCacheDirectory } from '../../infra/models/cache.ts';

/** Two texts and how alike people find them. */
export interface LabelledPair {
  readonly left: string;
  readonly right: string;
  readonly likeness: number;
}

const PACKAGE = 'gensim==4.4.0';
/** The same file on every machine, whatever runs there: it is only unpacked. */
const BUILD = ['--platform', 'manylinux_2_28_x86_64', '--python-version', '311', '--implementation', 'cp'];
const FILE = 'gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl';
const SHA256 = '91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8';
const FOLDER = 'gensim/test/test_data/';
const TIMEOUT_MS = 300_000;

/** Where the package is kept: beside the models' cache. */
const archive = join(dirname(modelCacheDirectory()), 'datasets', FILE);

const run = promisify(execFile);

/** The labelled sets by name. Downloads the package once, by pip. */
export async function readLabelled(): Promise<Readonly<Record<'simlex' | 'wordsim' | 'lee', LabelledPair[]>>> {
  if (!existsSync(archive)) await download();
  const bytes = readFileSync(archive);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== SHA256) throw new Error(`${archive} has SHA-256 ${sha256} instead of ${SHA256}: delete it.`);
  const files = unzipSync(bytes, { filter: ({ name }) => name.startsWith(FOLDER) });
  const text = (name: string, encoding = 'utf-8'): string => {
    const content = files[`${FOLDER}${name}`];
    if (content === undefined) throw new Error(`${FILE} has no ${name}`);
    return new TextDecoder(encoding).decode(content);
  };
  return {
    simlex: wordPairs(text('simlex999.txt')),
    wordsim: wordPairs(text('wordsim353.tsv')),
    lee: documentPairs(text('lee.cor', 'latin1'), text('similarities0-1.txt')),
  };
}

async function download(): Promise<void> {
  mkdirSync(dirname(archive), { recursive: true });
  const folder = mkdtempSync(`${archive}.`);
  try {
    const parameters = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', ...BUILD];
    await run('python3', [...parameters, '--dest', folder, PACKAGE], { timeout: TIMEOUT_MS });
    renameSync(join(folder, FILE), archive);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lines of word, word and judgement; comments begin with `#`. */
function wordPairs(text: string): LabelledPair[] {
  return lines(text)
    .filter((line) => !line.startsWith('#'))
    .map((line) => {
      const [left, right, likeness] = line.split('\t');
      if (left === undefined || right === undefined) throw new Error(`not a pair: ${line}`);
      return { left, right, likeness: Number(likeness) };
    });
}

/** One document a line, and a matrix whose upper triangle holds the judgements. */
function documentPairs(documents: string, matrix: string): LabelledPair[] {
  const texts = lines(documents);
  return lines(matrix).flatMap((line, row) =>
    line
      .split('\t')
      .map((likeness, column) => ({ column, likeness: Number(likeness) }))
      .filter(({ column }) => column > row)
      .map(({ column, likeness }) => ({ left: texts[row] ?? '', right: texts[column] ?? '', likeness })),
  );
}

const lines = (text: string): string[] => text.split(/\r?\n/).filter((line) => line.trim() !== '');
