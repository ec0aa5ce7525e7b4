/**
 * Deploys to Cloudflare Workers and to Supabase Edge Functions. `--dry-run` bundles for both, offline, and prints the
 * sizes beside the hosts' limits; it fails when one is passed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

const mebibyte = 1_048_576;

/** The hosts' limits. The 3 MB compressed are the oldest and strictest of Workers; newer plans allow more. */
const limits = {
  workersCompressed: 3_000_000,
  workersAsset: 25 * mebibyte,
  supabaseBundle: 20_000_000,
} as const;

const quiet = {
  ...process.env,
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_HIDE_BANNER: 'true',
};

interface Size {
  readonly what: string;
  readonly bytes: number;
  readonly limit: number;
}

function run(command: string, parameters: readonly string[]): void {
  const result = spawnSync(command, parameters, { env: quiet, encoding: 'utf8' });
  if (result.status === 0) return;
  const reason = result.error === undefined ? `${result.stdout}${result.stderr}` : result.error.message;
  throw new Error(`${command} ${parameters.join(' ')} failed:\n${reason}`);
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());

/** What goes up: code and the modules that it imports, without source maps and notes. */
const uploaded = (folder: string): string[] => filesIn(folder).filter((path) => /\.(js|mjs|wasm|tlm)$/.test(path));

const compressedSize = (paths: readonly string[]): number =>
  gzipSync(Buffer.concat(paths.map((path) => readFileSync(path))), { level: 9 }).byteLength;

/** Bundles for Workers as `wrangler deploy` does. */
function workersSizes(folder: string): Size[] {
  mkdirSync('.treeline/assets', { recursive: true });
  run('wrangler', ['deploy', '--dry-run', '--outdir', folder]);
  const sizes = [
    { what: 'Workers script, gzip', bytes: compressedSize(uploaded(folder)), limit: limits.workersCompressed },
  ];
  const assets = filesIn('.treeline/assets').map((path) => ({
    what: `Workers asset ${path.split('/').at(-1)}`,
    bytes: statSync(path).size,
    limit: limits.workersAsset,
  }));
  if (assets.length === 0) console.log('note: no model weights are there yet; "npm run models" makes them.');
  return [...sizes, ...assets];
}

/** Bundles the Supabase function with its packages, and adds the files that travel with it. */
function supabaseSizes(folder: string): Size[] {
  const bundle = join(folder, 'treeline.js');
  run('esbuild', [
    'supabase/functions/treeline/index.ts',
    '--bundle',
    '--format=esm',
    '--platform=node',
    '--minify',
    `--outfile=${bundle}`,
    '--log-level=error',
  ]);
  const paths = [
    bundle,
    'wasm-go/dist/cache.wasm',
    'wasm-go/dist/routing.wasm',
    'wasm-rust/pkg/analytics/treeline_analytics_bg.wasm',
    'wasm-rust/pkg/inference/treeline_inference_bg.wasm',
    'wasm-rust/pkg/inference/treeline_inference_plain_bg.wasm',
    'wasm-rust/pkg/search/treeline_search_bg.wasm',
    'wasm-rust/pkg/static/treeline-static-v1.tlm',
  ];
  const bytes = paths.reduce((sum, path) => sum + statSync(path).size, 0);
  return [{ what: 'Supabase function with its files', bytes, limit: limits.supabaseBundle }];
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

function dryRun(): void {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-deploy-'));
  try {
    const sizes = [...workersSizes(join(folder, 'workers')), ...supabaseSizes(join(folder, 'supabase'))];
    for (const { what, bytes, limit } of sizes) {
      const verdict = bytes <= limit ? 'ok' : 'TOO LARGE';
      console.log(
        `${what.padEnd(44)} ${megabytes(bytes).padStart(10)} of ${megabytes(limit).padStart(10)}  ${verdict}`,
      );
    }
    if (sizes.some(({ bytes, limit }) => bytes > limit)) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a host's own command with its output on the terminal. */
function hand(command: string, parameters: readonly string[]): void {
  console.log(`> ${command} ${parameters.join(' ')}`);
  const { status, error } = spawnSync(command, parameters, { stdio: 'inherit' });
  if (error !== undefined) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

function deploy(host: string): void {
  if (!existsSync('.treeline/assets/models'))
    throw new Error('The model weights are missing: run "npm run models" first.');
  if (host !== 'supabase') hand('wrangler', ['deploy']);
  if (host !== 'workers') hand('supabase', ['functions', 'deploy', 'treeline']);
}

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    host: { type: 'string', default: 'all' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help || !['all', 'workers', 'supabase'].includes(values.host)) {
  console.log(
    'npm run deploy -- [--host workers|supabase|all] [--dry-run]\n\nSee docs/DEPLOYMENT.md for what each host needs.',
  );
  process.exitCode = values.help ? 0 : 2;
} else {
  try {
    if (values['dry-run']) dryRun();
    else deploy(values.host);
  } catch (thrown) {
    console.error(thrown instanceof Error ? thrown.message : thrown);
    process.exitCode = 1;
  }
}
