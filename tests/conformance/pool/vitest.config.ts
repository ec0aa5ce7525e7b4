import { defineConfig } from 'vitest/config';

/** Clients made by others for Node, against the pool in `POOL_URL`. Started through run.ts. */
export default defineConfig({
  test: {
    name: 'conformance (pool)',
    include: ['tests/conformance/pool/*.spec.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
