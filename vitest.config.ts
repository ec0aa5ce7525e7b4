import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          environment: 'node',
          include: [
            'functions/**/*.test.ts',
            'infra/**/*.test.ts',
            'wasm-go/**/*.test.ts',
            'tests/wasm/**/*.test.ts',
            'tests/runner/**/*.test.ts',
            'tests/quality/**/*.test.ts',
            'bench/**/*.test.ts',
          ],
        },
      },
      './tests/workerd/vitest.config.ts',
    ],
  },
});
