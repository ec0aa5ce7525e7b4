/** Supabase's own client. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient, FunctionsHttpError } from '@supabase/supabase-js';
import { expect, test } from 'vitest';
import { projectDirectory } from '../../infra/local/paths.ts';
import { model, runningEdge } from '../contract/edge.ts';

const { host, url, key } = runningEdge();

/**
 * `functions.invoke` calls `{url}/functions/v1/{name}`, which the Supabase entry answers. workerd serves the same paths at
 * its root, so there the client's address is bent by its own `fetch` option, and nothing else.
 */
const root = host === 'supabase' ? url.replace('/functions/v1/treeline', '') : url;
const atRoot: typeof fetch = (input, init) => fetch(String(input).replace('/functions/v1/treeline', ''), init);
const options = host === 'supabase' ? {} : { global: { fetch: atRoot } };
const client = createClient(root, key, options);

test('functions.invoke embeds with the key that the client sends by itself', async () => {
  const { data, error } = await client.functions.invoke('treeline/v1/embeddings', {
    body: { model, input: 'hello world' },
  });
  expect(error).toBeNull();
  expect(data.data[0].embedding).toHaveLength(384);
  expect(data.data[0].embedding[0]).toBeCloseTo(-0.03448, 1);
});

test('functions.invoke reads with GET', async () => {
  const { data, error } = await client.functions.invoke('treeline/v1/models', { method: 'GET' });
  expect(error).toBeNull();
  expect(data.data.map(({ id }: { id: string }) => id)).toContain(model);
});

test('a failure is the client’s own error, whose answer can be read', async () => {
  const { error } = await client.functions.invoke('treeline/v1/embeddings', { body: { model: 'none', input: 'a' } });
  expect(error).toBeInstanceOf(FunctionsHttpError);
  const body = await (error as FunctionsHttpError).context.json();
  expect(body.error.code).toBe('model_not_found');
});

test('a wrong key is refused', async () => {
  const wrong = createClient(root, `tl_${'0'.repeat(48)}`, options);
  const { error } = await wrong.functions.invoke('treeline/v1/models', { method: 'GET' });
  expect((error as FunctionsHttpError).context.status).toBe(401);
});

test.runIf(host === 'supabase')(
  'the same from Deno',
  async () => {
    const deno = join(projectDirectory, 'node_modules/.bin/deno');
    const script = join(projectDirectory, 'tests/conformance/supabase-deno.ts');
    const parameters = ['run', '-A', '--no-remote', '--cached-only', '--node-modules-dir=manual', script, root, key];
    const { stdout } = await promisify(execFile)(deno, parameters, { cwd: projectDirectory, timeout: 60_000 });
    const { runtime, failed, embedding } = JSON.parse(stdout);
    expect([runtime, failed, embedding.length]).toEqual(['deno', false, 384]);
    expect(embedding[0]).toBeCloseTo(-0.03448, 1);
  },
  60_000,
);
