import { fileURLToPath } from 'node:url';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';
import { bundlePath } from './bundle.ts';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** A tenant that every call without a key acts for. */
const anonymous = { ANONYMOUS_TENANT_ID: '00000000-0000-4000-8000-000000000001' };

/** Tests that run inside workerd, in the worker that `wrangler.toml` describes. */
export default defineConfig({
  plugins: [
    cloudflareTest({
      main: fromRoot(bundlePath),
      wrangler: { configPath: fromRoot('wrangler.toml') },
      miniflare: { bindings: anonymous },
    }),
  ],
  test: {
    name: 'workerd',
    include: [fromRoot('tests/workerd/**/*.test.ts')],
    globalSetup: [fromRoot('tests/workerd/bundle.ts')],
    hookTimeout: 60_000,
    testTimeout: 30_000,
  },
});
