/**
 * `make bench-pool`: throughput, latency, time to first token and between tokens of the pool's chat, at several numbers of
 * clients; embeddings with and without batching; and a soak at a steady rate, in which memory must stay flat.
 */
import { parseArgs } from 'node:util';
import { machine } from '../inference/machine.ts';
import { embeddings, embeddingTable } from './embeddings.ts';
import { closedLoad, type Load, type Target } from './load.ts';
import { percentile } from './percentiles.ts';
import { usage } from './processes.ts';
import { builtServer, type Server, startServer } from './server.ts';
import { soak, withSmallCache } from './soak.ts';

const help = `Usage: make bench-pool ARGS="[flags]"

  --clients LIST       numbers of clients at once (1,4,16; of embeddings 1,4,16,64)
  --seconds N          time for each of them (20)
  --prompt-words N     words of a prompt (64)
  --tokens N           tokens of an answer (64)
  --model NAME         (smollm2-135m-instruct)
  --engine NAME        shm, ffi or grpc, for the pool that is started (shm)
  --embeddings         instead: embeddings a second and their latency, with and without dynamic batching
  --soak SECONDS       instead: a steady load for so long, once a small cache of keys and values is full; fails where the
                       memory of the server or of an engine's process grows, or a call fails
  --rate N             calls a second of the soak (2)
  --program PATH       the server's program, with the engine beside it (pool/dist/treeline-pool)
  --url URL            a pool that runs already; else one is started on a free port of this machine
  --json               the result as JSON
  --help

Figures mean something only on an idle machine.`;

interface Result {
  readonly clients: number;
  readonly calls: number;
  readonly refused: number;
  readonly failed: number;
  readonly callsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly firstTokenMs: readonly [number, number, number];
  readonly betweenTokensMs: readonly [number, number, number];
  readonly totalMs: readonly [number, number, number];
  readonly cpuMsPerToken: number | null;
}

const three = (values: readonly number[]): [number, number, number] => [
  percentile(values, 0.5),
  percentile(values, 0.9),
  percentile(values, 0.99),
];

function summarise(clients: number, load: Load, cpuMs: number | null): Result {
  const tokens = load.timings.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
  return {
    clients,
    calls: load.timings.length,
    refused: load.refused,
    failed: load.failed,
    callsPerSecond: load.timings.length / load.seconds,
    tokensPerSecond: tokens / load.seconds,
    firstTokenMs: three(load.timings.map(({ firstTokenMs }) => firstTokenMs)),
    betweenTokensMs: three(load.timings.flatMap(({ gapsMs }) => [...gapsMs])),
    totalMs: three(load.timings.map(({ totalMs }) => totalMs)),
    cpuMsPerToken: cpuMs === null ? null : cpuMs / tokens,
  };
}

function table(results: readonly Result[]): string {
  const head = [
    'clients',
    'calls',
    'calls/s',
    'tokens/s',
    'first token ms p50/p90/p99',
    'between tokens ms p50/p90/p99',
    'whole call ms p50/p90/p99',
    'CPU ms/token',
    'refused',
    'failed',
  ];
  const figures = (values: readonly number[]): string => values.map((value) => value.toFixed(1)).join(' / ');
  const rows = results.map((result) => [
    String(result.clients),
    String(result.calls),
    result.callsPerSecond.toFixed(2),
    result.tokensPerSecond.toFixed(1),
    figures(result.firstTokenMs),
    figures(result.betweenTokensMs),
    figures(result.totalMs),
    result.cpuMsPerToken?.toFixed(2) ?? '–',
    String(result.refused),
    String(result.failed),
  ]);
  return [head, head.map(() => '---:'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

async function measure(server: Server, target: Target, clients: readonly number[], seconds: number): Promise<Result[]> {
  const results: Result[] = [];
  // The first calls fault the weights' pages in.
  await closedLoad(target, 1, 2);
  for (const count of clients) {
    process.stderr.write(`${count} clients, ${seconds} s\n`);
    const before = server.pid === null ? null : usage(server.pid).cpuMs;
    const load = await closedLoad(target, count, seconds);
    for (const failure of load.failures) process.stderr.write(`failed: ${failure}\n`);
    results.push(
      summarise(count, load, server.pid === null || before === null ? null : usage(server.pid).cpuMs - before),
    );
  }
  return results;
}

const { values } = parseArgs({
  options: {
    clients: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    'prompt-words': { type: 'string', default: '64' },
    tokens: { type: 'string', default: '64' },
    model: { type: 'string', default: 'smollm2-135m-instruct' },
    engine: { type: 'string', default: 'shm' },
    embeddings: { type: 'boolean', default: false },
    soak: { type: 'string' },
    rate: { type: 'string', default: '2' },
    program: { type: 'string', default: builtServer },
    url: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new Error(`--${name} is a number over 0, not "${text}".`);
  return value;
}

async function measureEmbeddings(clients: readonly number[]): Promise<number> {
  if (values.url !== undefined) throw new Error('--embeddings starts a pool of its own; leave --url out.');
  const results = await embeddings(values.engine, clients, positive('seconds', values.seconds));
  if (values.json)
    process.stdout.write(`${JSON.stringify({ machine: machine(), engine: values.engine, results }, null, 2)}\n`);
  else process.stdout.write(`Machine: ${machine()}\nEngine: ${values.engine}\n\n${embeddingTable(results)}\n`);
  return results.every((result) => result.failed === 0 && result.embeddings > 0) ? 0 : 1;
}

const targetAt = (url: string): Target => ({
  url,
  model: values.model,
  promptWords: positive('prompt-words', values['prompt-words']),
  tokens: positive('tokens', values.tokens),
});

/** Runs `use` with a server that is stopped afterwards, also when this program is interrupted. */
async function withServer<T>(server: Server, use: () => Promise<T>): Promise<T> {
  const stop = (): void => void server.stop().then(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await use();
  } finally {
    await server.stop();
  }
}

async function soakFor(seconds: number): Promise<number> {
  if (values.url !== undefined) throw new Error('--soak starts a pool of its own; leave --url out.');
  return await withSmallCache('pool/models', async (folder) => {
    const server = await startServer(['--engine', values.engine, '--models', folder], values.program);
    const run = async (): Promise<boolean> =>
      server.pid !== null && (await soak(server.pid, targetAt(server.url), positive('rate', values.rate), seconds));
    return (await withServer(server, run)) ? 0 : 1;
  });
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(`${help}\n`);
    return 0;
  }
  const clientsGiven = values.clients ?? (values.embeddings ? '1,4,16,64' : '1,4,16');
  const clients = clientsGiven.split(',').map((text) => positive('clients', text));
  if (values.embeddings) return await measureEmbeddings(clients);
  if (values.soak !== undefined) return await soakFor(positive('soak', values.soak));
  const server: Server =
    values.url === undefined
      ? await startServer(['--engine', values.engine], values.program)
      : { url: values.url.replace(/\/$/, ''), pid: null, stop: async () => {} };
  return await withServer(server, async () => {
    const results = await measure(server, targetAt(server.url), clients, positive('seconds', values.seconds));
    if (values.json)
      process.stdout.write(`${JSON.stringify({ machine: machine(), engine: values.engine, results }, null, 2)}\n`);
    else process.stdout.write(`Machine: ${machine()}\nEngine: ${values.engine}\n\n${table(results)}\n`);
    return results.every(({ failed, calls }) => failed === 0 && calls > 0) ? 0 : 1;
  });
}

process.exitCode = await main();
