import { z } from '@hono/zod-openapi';
import { expect, test } from 'vitest';
import { parseRequest } from './openapi.ts';

const schema = z.object({ a: z.int().optional() }).refine(({ a }) => a !== undefined, 'give a');

test('a fault of one field names it', () => {
  expect(() => parseRequest(schema, { a: 'x' })).toThrow(expect.objectContaining({ parameter: 'a' }));
});

test('a fault of the whole body names no field', () => {
  expect(() => parseRequest(schema, {})).toThrow(expect.objectContaining({ parameter: null, message: 'give a' }));
});
