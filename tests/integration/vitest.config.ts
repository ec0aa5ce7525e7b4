import { defineConfig } from 'vitest/config';

/** Tests that start servers of their own: slower than unit tests, and not all at once. */
export default defineConfig({
  test: {
    name: 'integration',
    environment: 'node',
    include: ['tests/integration/**/*.test.ts', 'tests/database/**/*.test.ts'],
    root: new URL('../..', import.meta.url).pathname,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
