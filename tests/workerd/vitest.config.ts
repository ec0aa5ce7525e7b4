import { fileURLToPath } from 'node:url';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Tests that run inside workerd, in the worker that `wrangler.toml` describes. */
export default defineConfig({
  plugins: [cloudflareTest({ wrangler: { configPath: fromRoot('wrangler.toml') } })],
  test: { name: 'workerd', include: [fromRoot('tests/workerd/**/*.test.ts')] },
});
