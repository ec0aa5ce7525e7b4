import { defineConfig } from 'vitest/config';

/** The contract over HTTP, against the address in `TREELINE_URL`. Start it through `tests/support/on-edge.ts`. */
export default defineConfig({
  test: {
    name: `contract (${process.env.TREELINE_HOST ?? 'host unknown'})`,
    include: ['tests/contract/**/*.test.ts'],
    // Drills start edges of their own, and metrics are counted: one file after the other.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
