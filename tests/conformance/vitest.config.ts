import { defineConfig } from 'vitest/config';

/** Clients made by others, against the address in `TREELINE_URL`. Start it through `tests/support/on-edge.ts`. */
export default defineConfig({
  test: {
    name: `conformance (${process.env.TREELINE_HOST ?? 'host unknown'})`,
    include: ['tests/conformance/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
