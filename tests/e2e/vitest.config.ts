import { defineConfig } from 'vitest/config';

/** The whole way: a client, the edge on both hosts, real nodes of the pool with real models. */
export default defineConfig({
  test: {
    name: 'end to end',
    include: ['tests/e2e/**/*.test.ts'],
    // Models and edges share the machine: one file after the other.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 300_000,
  },
});
