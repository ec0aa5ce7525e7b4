/** The variables of a start: from the environment, or from `.env` in the checkout; checked before anything begins. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseConfiguration } from '../../functions/configuration.ts';
import { UsageError } from './command-line.ts';
import { projectDirectory } from './paths.ts';

/** A variable set to nothing counts as not set. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

const url = (protocol: RegExp, example: string) =>
  z.string().refine((text) => URL.canParse(text) && protocol.test(new URL(text).protocol), {
    error: `must look like ${example}`,
  });

const settingsSchema = z.object({
  DATABASE_URL: optional(url(/^postgres(ql)?:$/, 'postgres://user:password@host:5432/database')),
  REDIS_URL: optional(url(/^rediss?:$/, 'redis://host:6379')),
});

/** Reads `.env` where there is one. What the environment has already stays as it is. */
export function loadEnvironmentFile(): void {
  const path = join(projectDirectory, '.env');
  if (existsSync(path)) process.loadEnvFile(path);
}

/**
 * Throws a `UsageError` that names each variable that makes no sense, without its value: it may be a secret. The
 * edge's own variables are checked by the edge's own rules.
 */
export function checkSettings(environment: Readonly<Record<string, string | undefined>>): void {
  const parsed = settingsSchema.safeParse(environment);
  if (!parsed.success)
    throw new UsageError(parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; '));
  try {
    parseConfiguration(environment);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
