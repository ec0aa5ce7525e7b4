/** What `make test` runs, in order: cheap and telling first, what needs the whole product last. */
import { type CountReader, cargoCounts, goCounts, oneCheck, summaryCounts, vitestCounts } from './counts.ts';

/** One stage: commands that run one after the other until one fails. */
export interface Stage {
  readonly name: string;
  readonly title: string;
  readonly commands: readonly (readonly string[])[];
  readonly counts: CountReader;
  /** Folder of the commands, relative to the project; the project itself where not given. */
  readonly folder?: string;
  /** A program without which the stage is left out, except on CI. */
  readonly needs?: string;
  /** True where the stage runs only when it is named: it does not pass yet, or fetches much. */
  readonly onRequest?: true;
  /** True where the stage prepares and counts no test unless it fails. */
  readonly prepares?: true;
  /** Longest time that one command may take, in seconds. */
  readonly limitSeconds?: number;
}

const node = process.execPath;
const vitest = (...parameters: string[]): string[] => [node, 'node_modules/vitest/vitest.mjs', 'run', ...parameters];
const onEdge = (host: string, ...command: string[]): string[] => [
  node,
  'tests/support/on-edge.ts',
  '--host',
  host,
  '--',
  ...command,
];

const hosts = [
  { host: 'workers', place: 'workerd' },
  { host: 'supabase', place: 'the Supabase entry under Deno' },
] as const;

/** The stages. */
export const stages: readonly Stage[] = [
  {
    name: 'prepare',
    title: 'Python packages and programs of the tests, and the models’ weights',
    commands: [
      [node, 'tests/python/environment.ts'],
      [node, 'infra/models/fetch.ts', '--pool'],
      [node, 'tests/runner/weights.ts'],
      [node, 'infra/pool/programs.ts'],
    ],
    counts: oneCheck,
    prepares: true,
    limitSeconds: 900,
  },
  {
    name: 'pool-build',
    title: 'the inference pool’s two programs, and the engine as a library',
    commands: [['bash', 'pool/build.sh']],
    counts: oneCheck,
    needs: 'cargo',
    prepares: true,
    limitSeconds: 1_800,
  },
  {
    name: 'lint',
    title: 'format and lint of every language',
    commands: [['npm', 'run', '--silent', 'lint']],
    counts: oneCheck,
    limitSeconds: 1_800,
  },
  { name: 'types', title: 'strict TypeScript', commands: [['npm', 'run', '--silent', 'types']], counts: oneCheck },
  {
    name: 'architecture',
    title: 'which file may name what',
    commands: [vitest('--config', 'tests/architecture/vitest.config.ts')],
    counts: vitestCounts,
  },
  {
    name: 'manifest',
    title: 'WebAssembly modules are those of their sources',
    commands: [[node, 'infra/wasm/check.ts', '--if-changed']],
    counts: oneCheck,
    limitSeconds: 1_800,
  },
  {
    name: 'unit',
    title: 'unit tests, also of the built modules',
    commands: [vitest('--project', 'unit', '--exclude', 'tests/quality/**')],
    counts: vitestCounts,
  },
  {
    name: 'cargo',
    title: 'Rust, natively',
    commands: [['cargo', 'test', '--workspace', '--quiet', '--locked']],
    folder: 'wasm-rust',
    counts: cargoCounts,
    needs: 'cargo',
    limitSeconds: 1_200,
  },
  {
    name: 'go',
    title: 'Go, natively',
    commands: [
      ['go', 'vet', './...'],
      ['go', 'test', '-json', './...'],
    ],
    folder: 'wasm-go',
    counts: goCounts,
    needs: 'go',
  },
  {
    name: 'engine',
    title: 'the pool’s engine in Rust, every kind of model',
    // All crates at once: with some of them, what they depend on has other features than in the product, and is compiled again.
    commands: [['cargo', 'test', '--release', '--workspace', '--locked']],
    folder: 'pool/engine',
    counts: cargoCounts,
    needs: 'cargo',
    limitSeconds: 1_800,
  },
  {
    name: 'pool',
    title: 'the pool’s server in Go, with the engine linked in',
    commands: [
      ['go', 'vet', '-tags', 'ffi', './...'],
      ['go', 'test', '-json', '-tags', 'ffi', './...'],
    ],
    folder: 'pool/server',
    counts: goCounts,
    needs: 'go',
    limitSeconds: 1_200,
  },
  { name: 'workerd', title: 'inside workerd', commands: [vitest('--project', 'workerd')], counts: vitestCounts },
  {
    name: 'quality',
    title: 'embeddings beside the float model and labelled sentences',
    commands: [vitest('--project', 'unit', 'tests/quality')],
    counts: vitestCounts,
  },
  {
    name: 'database',
    title: 'pgTAP on PostgreSQL 15',
    commands: [[node, 'tests/database/run.ts']],
    counts: summaryCounts,
  },
  {
    name: 'integration',
    title: 'real and embedded PostgreSQL and Redis',
    commands: [vitest('--config', 'tests/integration/vitest.config.ts')],
    counts: vitestCounts,
  },
  ...hosts.map(({ host, place }) => ({
    name: `contract-${host}`,
    title: `the contract over HTTP, against ${place}`,
    commands: [onEdge(host, ...vitest('--config', 'tests/contract/vitest.config.ts'))],
    counts: vitestCounts,
  })),
  ...hosts.map(({ host, place }) => ({
    name: `conformance-${host}`,
    title: `clients made by others, against ${place}`,
    commands: [onEdge(host, ...vitest('--config', 'tests/conformance/vitest.config.ts'))],
    counts: vitestCounts,
  })),
  ...hosts.map(({ host, place }) => ({
    name: `fuzz-${host}`,
    title: `schemathesis, against ${place}`,
    commands: [[node, 'tests/support/on-edge.ts', '--host', host, '--any-model', '--', node, 'tests/fuzz/run.ts']],
    counts: summaryCounts,
  })),
  {
    name: 'go-rust',
    title: 'the boundary between Go and Rust: every type, leaks, killed workers, malformed calls, other versions',
    // The stage `pool` has run the suite without the race detector.
    commands: [['bash', 'tests/go-rust/run.sh', 'race', 'abi', 'sanitizer']],
    counts: oneCheck,
    needs: 'cargo',
    limitSeconds: 1_200,
  },
  {
    name: 'conformance-pool',
    title: 'clients made by others, against the pool with real models',
    commands: [[node, 'tests/conformance/pool/run.ts']],
    counts: summaryCounts,
    needs: 'cargo',
    limitSeconds: 900,
  },
  {
    name: 'conformance-triton',
    title: 'a real Triton behind the pool',
    // On request: it fetches Triton, 55 MB.
    commands: [[node, 'tests/conformance/triton/run.ts']],
    counts: summaryCounts,
    needs: 'cargo',
    limitSeconds: 600,
    onRequest: true,
  },
  {
    name: 'e2e-search',
    title: 'searches through workerd and Deno, by OpenAI’s client, and across kills of the edge',
    commands: [vitest('--config', 'tests/e2e/vitest.config.ts', 'tests/e2e/search')],
    counts: vitestCounts,
    limitSeconds: 600,
  },
  {
    name: 'e2e-pool',
    title: 'chat through the edge, in workerd and in Deno, by real nodes that it discovers',
    commands: [vitest('--config', 'tests/e2e/vitest.config.ts', '--exclude', 'tests/e2e/search*')],
    counts: vitestCounts,
    needs: 'cargo',
    limitSeconds: 900,
  },
  {
    name: 'soak-pool',
    title: 'a minute of steady load on the pool, in which its memory is flat',
    commands: [[node, 'bench/pool/run.ts', '--soak', '60', '--rate', '4', '--tokens', '16']],
    counts: oneCheck,
    needs: 'cargo',
  },
  {
    name: 'deploy',
    title: 'bundles for both hosts within their limits, offline',
    commands: [['npm', 'run', '--silent', 'deploy-dry-run']],
    counts: oneCheck,
  },
];
