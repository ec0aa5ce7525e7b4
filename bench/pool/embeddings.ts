/**
 * Embeddings with and without dynamic batching: the same model under several names in one pool, each with other settings in
 * its manifest, asked in turns so that other work on the machine falls on all alike.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { percentile } from './percentiles.ts';
import { usage } from './processes.ts';
import { type Server, startServer } from './server.ts';

const weights = 'cache:all-minilm-l6-v2/all-minilm-l6-v2.tlm';
/** Turns that each kind of batching gets for a number of clients. */
const rounds = 4;
const callTimeoutMs = 30_000;
const failuresShownMax = 5;

/** As a manifest names them. */
interface Batching {
  readonly size_max: number;
  readonly parallel: number;
  readonly wait_us: number;
}

interface Variant {
  readonly model: string;
  readonly title: string;
  readonly batching: Batching | null;
}

/** One batch a core at once: a batch is computed by one thread. */
const parallel = availableParallelism();
const variants: readonly Variant[] = [
  { model: 'alone', title: 'none', batching: null },
  { model: 'together', title: 'up to 32, no wait', batching: { size_max: 32, parallel, wait_us: 0 } },
  { model: 'gathered', title: 'up to 32, wait 500 µs', batching: { size_max: 32, parallel, wait_us: 500 } },
];

const words = ['river', 'stone', 'cloud', 'paper', 'amber', 'winter', 'garden', 'signal', 'copper', 'harbour'];

/** Eight words in an order of their own. */
const sentence = (number: number): string =>
  Array.from({ length: 8 }, (_, index) => words[(number * 7 + index * (3 + (number % 5))) % words.length]).join(' ');

/** What came of a load. */
interface Tally {
  readonly latencyMs: number[];
  readonly failures: string[];
  failed: number;
  seconds: number;
  cpuMs: number;
}

const emptyTally = (): Tally => ({ latencyMs: [], failures: [], failed: 0, seconds: 0, cpuMs: 0 });

/** One row of the result. */
export interface EmbeddingResult {
  readonly clients: number;
  readonly batching: string;
  readonly embeddings: number;
  readonly failed: number;
  readonly perSecond: number;
  /** Half, 90 % and 99 % of the calls were answered within these. */
  readonly latencyMs: readonly [number, number, number];
  /** Of the server and the engine; null where nobody knows. */
  readonly cpuMsPerEmbedding: number | null;
}

/** Asks for one embedding; `node:http`, since `fetch` would take more of the machine than the model does. */
function embed(url: string, agent: Agent, model: string, input: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const call = request(
      `${url}/v1/embeddings`,
      { method: 'POST', agent, headers, timeout: callTimeoutMs },
      (response) => {
        response.resume().once('error', reject);
        response.once('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`status ${response.statusCode}`));
        });
      },
    );
    call.once('timeout', () => call.destroy(new Error(`no answer within ${callTimeoutMs} ms`)));
    call.once('error', reject);
    call.end(JSON.stringify({ model, input, encoding_format: 'base64' }));
  });
}

let calls = 0;

/** Adds a turn of `seconds` to `tally`. */
async function turn(server: Server, model: string, clients: number, seconds: number, tally: Tally): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const cpuBefore = server.pid === null ? 0 : usage(server.pid).cpuMs;
  const startedAt = performance.now();
  const client = async (): Promise<void> => {
    while (performance.now() - startedAt < seconds * 1e3) {
      calls += 1;
      const askedAt = performance.now();
      try {
        await embed(server.url, agent, model, sentence(calls));
        tally.latencyMs.push(performance.now() - askedAt);
      } catch (thrown) {
        tally.failed += 1;
        if (tally.failures.length < failuresShownMax) tally.failures.push(String(thrown));
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  tally.seconds += (performance.now() - startedAt) / 1e3;
  tally.cpuMs += server.pid === null ? 0 : usage(server.pid).cpuMs - cpuBefore;
  agent.destroy();
}

async function measure(server: Server, clients: number, seconds: number): Promise<EmbeddingResult[]> {
  const tallies = variants.map((variant) => ({ variant, tally: emptyTally() }));
  for (let round = 0; round < rounds; round += 1) {
    // Each round begins with another.
    const order = tallies.map((_, index) => tallies[(index + round) % tallies.length]);
    for (const one of order) {
      if (one !== undefined) await turn(server, one.variant.model, clients, seconds / rounds, one.tally);
    }
  }
  return tallies.map(({ variant, tally }) => {
    for (const failure of tally.failures) process.stderr.write(`failed: ${failure}\n`);
    const embeddings = tally.latencyMs.length;
    const share = (part: number): number => percentile(tally.latencyMs, part);
    return {
      clients,
      batching: variant.title,
      embeddings,
      failed: tally.failed,
      perSecond: embeddings / tally.seconds,
      latencyMs: [share(0.5), share(0.9), share(0.99)],
      cpuMsPerEmbedding: server.pid === null ? null : tally.cpuMs / embeddings,
    };
  });
}

async function writeModels(folder: string): Promise<void> {
  for (const { model, batching } of variants) {
    const manifest = {
      backend: 'native',
      capabilities: ['embed'],
      files: { weights },
      load: 'startup',
      ...(batching === null ? {} : { batching }),
    };
    await mkdir(join(folder, model));
    await writeFile(join(folder, model, 'model.json'), JSON.stringify(manifest));
  }
}

/** Measures each kind of batching at each number of clients, for `seconds` each, in a pool with this `engine`. */
export async function embeddings(
  engine: string,
  clients: readonly number[],
  seconds: number,
): Promise<EmbeddingResult[]> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-bench-'));
  try {
    await writeModels(folder);
    const server = await startServer(['--engine', engine, '--models', folder]);
    try {
      const results: EmbeddingResult[] = [];
      // The first calls fault the weights' pages in.
      for (const { model } of variants) await turn(server, model, 1, 0.5, emptyTally());
      for (const count of clients) {
        process.stderr.write(`${count} clients, ${variants.length} times ${seconds} s\n`);
        results.push(...(await measure(server, count, seconds)));
      }
      return results;
    } finally {
      await server.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The result for people. */
export function embeddingTable(results: readonly EmbeddingResult[]): string {
  const head = ['clients', 'batching', 'embeddings/s', 'p50 ms', 'p90 ms', 'p99 ms', 'CPU ms/embedding', 'failed'];
  const rule = head.map((_, index) => (index === 1 ? '---' : '---:'));
  const rows = results.map((result) => [
    String(result.clients),
    result.batching,
    result.perSecond.toFixed(0),
    ...result.latencyMs.map((value) => value.toFixed(2)),
    result.cpuMsPerEmbedding?.toFixed(2) ?? '–',
    String(result.failed),
  ]);
  return [head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
