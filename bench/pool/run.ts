/**
 * `make bench-pool`: throughput, latency, time to first token and between tokens of the pool's chat, at several numbers of
 * clients; and a soak at a steady rate, in which memory must stay flat.
 */
import { parseArgs } from 'node:util';
import { machine } from '../inference/machine.ts';
import { closedLoad, type Load, openLoad, type Target } from './load.ts';
import { percentile, slope } from './percentiles.ts';
import { usage } from './processes.ts';
import { type Server, startServer } from './server.ts';

const help = `Usage: make bench-pool ARGS="[flags]"

  --clients LIST       numbers of clients at once (1,4,16)
  --seconds N          time for each of them (20)
  --prompt-words N     words of a prompt (64)
  --tokens N           tokens of an answer (64)
  --model NAME         (smollm2-135m-instruct)
  --engine NAME        shm, ffi or grpc, for the pool that is started (shm)
  --soak SECONDS       instead: a steady load for so long; fails where memory grows or a call fails
  --rate N             calls a second of the soak (2)
  --url URL            a pool that runs already; else one is started on a free port of this machine
  --json               the result as JSON
  --help

Figures mean something only on an idle machine.`;

/** Part of a soak that may fill caches and pools before memory must be flat. */
const warmUpShare = 0.3;
/** How often a soak looks at memory. */
const watchSecondsMax = 10;
/** Growth that is noise: of an allocator, and of samples taken while calls run. */
const growthBytesMax = 64 * 2 ** 20;

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

/** Memory over the time of a soak, and what came of it. */
async function soak(server: Server, target: Target, rate: number, seconds: number): Promise<boolean> {
  const times: number[] = [];
  const bytes: number[] = [];
  const load = await openLoad(target, rate, seconds, Math.min(watchSecondsMax, seconds / 20), (elapsed, sofar) => {
    const now = server.pid === null ? null : usage(server.pid);
    if (now !== null && elapsed >= seconds * warmUpShare) {
      times.push(elapsed);
      bytes.push(now.residentBytes);
    }
    const memory = now === null ? '' : `, ${(now.residentBytes / 2 ** 20).toFixed(0)} MiB`;
    process.stderr.write(
      `${elapsed.toFixed(0)} s: ${sofar.calls} calls, ${sofar.refused} refused, ${sofar.failed} failed${memory}\n`,
    );
  });
  const grown = slope(times, bytes) * (seconds * (1 - warmUpShare));
  const flat = grown <= growthBytesMax;
  const result = summarise(0, load, null);
  process.stdout.write(
    `soak: ${seconds} s at ${rate} calls/s: ${result.calls} calls, ${result.refused} refused, ${load.failed} failed, ` +
      `${result.tokensPerSecond.toFixed(1)} tokens/s, first token p50 ${result.firstTokenMs[0].toFixed(0)} ms p99 ${result.firstTokenMs[2].toFixed(0)} ms, ` +
      `memory ${((bytes[0] ?? 0) / 2 ** 20).toFixed(0)} → ${((bytes.at(-1) ?? 0) / 2 ** 20).toFixed(0)} MiB ` +
      `(${(grown / 2 ** 20).toFixed(1)} MiB by the fitted line; ${flat ? 'flat' : 'NOT FLAT'})\n`,
  );
  for (const failure of load.failures) process.stdout.write(`failed: ${failure}\n`);
  return flat && load.failed === 0 && result.calls > 0;
}

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '1,4,16' },
    seconds: { type: 'string', default: '20' },
    'prompt-words': { type: 'string', default: '64' },
    tokens: { type: 'string', default: '64' },
    model: { type: 'string', default: 'smollm2-135m-instruct' },
    engine: { type: 'string', default: 'shm' },
    soak: { type: 'string' },
    rate: { type: 'string', default: '2' },
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

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(`${help}\n`);
    return 0;
  }
  const clients = values.clients.split(',').map((text) => positive('clients', text));
  const server: Server =
    values.url === undefined
      ? await startServer(['--engine', values.engine])
      : { url: values.url.replace(/\/$/, ''), pid: null, stop: async () => {} };
  const stop = (): void => void server.stop().then(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const target = {
      url: server.url,
      model: values.model,
      promptWords: positive('prompt-words', values['prompt-words']),
      tokens: positive('tokens', values.tokens),
    };
    if (values.soak !== undefined) {
      return (await soak(server, target, positive('rate', values.rate), positive('soak', values.soak))) ? 0 : 1;
    }
    const results = await measure(server, target, clients, positive('seconds', values.seconds));
    if (values.json)
      process.stdout.write(`${JSON.stringify({ machine: machine(), engine: values.engine, results }, null, 2)}\n`);
    else process.stdout.write(`Machine: ${machine()}\nEngine: ${values.engine}\n\n${table(results)}\n`);
    return results.every(({ failed, calls }) => failed === 0 && calls > 0) ? 0 : 1;
  } finally {
    await server.stop();
  }
}

process.exitCode = await main();
