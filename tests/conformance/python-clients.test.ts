/** Clients made by others for Python: their tests are pytest's, each shown here under its own name. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectDirectory } from '../../infra/local/paths.ts';
import { runningEdge } from '../contract/edge.ts';
import { startChatUpstream } from '../support/chat-upstream.ts';
import type { TestServer } from '../support/http-server.ts';

const python = join(projectDirectory, '.venv/bin/python');

function pytest(file: string): Promise<string> {
  const parameters = ['-B', '-m', 'pytest', '-rA', '--tb=short', '-p', 'no:cacheprovider', `tests/conformance/${file}`];
  return new Promise((resolve) => {
    execFile(python, parameters, { cwd: projectDirectory, maxBuffer: 16 * 1_048_576 }, (_error, stdout, stderr) => {
      resolve(`${stdout}${stderr}`);
    });
  });
}

const testsOf = (file: string): string[] =>
  [...readFileSync(join(projectDirectory, 'tests/conformance', file), 'utf8').matchAll(/^def (test_\w+)/gm)].map(
    ([, name]) => name ?? '',
  );

let upstream: TestServer;
beforeAll(async () => {
  upstream = await startChatUpstream(runningEdge().upstreamPort);
});
afterAll(() => upstream.close());

describe.each(['test_openai.py', 'test_triton.py'])('%s', (file) => {
  let output = '';
  beforeAll(async () => {
    output = await pytest(file);
  });

  test.each(testsOf(file))('%s', (name) => {
    const failures = output.split('\n').filter((line) => /^(FAILED|ERROR) /.test(line));
    expect(failures.filter((line) => line.includes(`::${name}`))).toEqual([]);
    expect(output, output.slice(-4_000)).toMatch(new RegExp(`^PASSED \\S+::${name}(\\[.*\\])?$`, 'm'));
  });
});
