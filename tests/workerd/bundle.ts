/** Bundles the worker as a deployment does, so that what runs in the tests is what would be deployed. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = '.treeline/test/workerd';

/** The bundle's entry, relative to the project. */
export const bundlePath = `${folder}/workers.js`;

/** Called by vitest once, before the tests. */
export default function bundle(): void {
  // wrangler asks that the folder of assets be there.
  mkdirSync(fileURLToPath(new URL('../../.treeline/assets', import.meta.url)), { recursive: true });
  const wrangler = ['--no-warnings', 'node_modules/wrangler/wrangler-dist/cli.js'];
  const quiet = { WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' };
  execFileSync(process.execPath, [...wrangler, 'deploy', '--dry-run', '--outdir', folder], {
    cwd: root,
    env: { ...process.env, ...quiet },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
