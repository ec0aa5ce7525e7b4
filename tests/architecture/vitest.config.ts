import { defineConfig } from 'vitest/config';

/** Rules about the source itself. */
export default defineConfig({ test: { name: 'architecture', include: ['tests/architecture/**/*.test.ts'] } });
