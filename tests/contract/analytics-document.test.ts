/** The examples of docs/ANALYTICS.md, as a reader runs them: one after the other, in a shell, with curl. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startChatUpstream } from '../support/chat-upstream.ts';
import { runningEdge } from './edge.ts';

const document = readFileSync(new URL('../../docs/ANALYTICS.md', import.meta.url), 'utf8');
const examples = [...document.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text);

function run(script: string, variables: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const child = spawn('bash', ['-e', '-u', '-c', script], { env: { ...process.env, ...variables } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

test('all of them work, in their order', async () => {
  const { url, key, upstreamPort } = runningEdge();
  const upstream = await startChatUpstream(upstreamPort);
  const variables = { URL: url, KEY: key, NAME: `doc-${crypto.randomUUID().slice(0, 8)}` };
  const { code, output } = await run(examples.join('\n'), variables);
  await upstream.close();
  expect(output).toContain('"recorded":["accepted"]');
  expect(output).toContain('"object":"experiment.analysis"');
  expect([code, examples.length]).toEqual([0, 11]);
}, 60_000);
