import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { natsConfiguration } from './nats-part.ts';
import { freePort, freePortNear, loopback } from './ports.ts';
import { findProgram, requireProgram } from './programs.ts';
import { prometheusConfiguration } from './prometheus-part.ts';

const committed = await readFile(new URL('../prometheus/prometheus.yml', import.meta.url), 'utf8');

it.each([
  ['nats-server: v2.9.10', false],
  ['nats-server: v2.10.0', true],
  ['nats-server: v2.12.1', true],
  ['nats-server: v3.0.0', true],
  ['nats-server: v1.4.1', false],
])('asks %s to write at once: %s', (version, asked) => {
  const text = natsConfiguration({ version, port: 1, monitoringPort: 2, storeDirectory: '/a "b"' });
  expect(text.includes('sync_interval: always')).toBe(asked);
  expect(text).toContain('store_dir: "/a \\"b\\""');
});

it("points Prometheus at the edge's port and path, and at the pool where there is one", () => {
  const workers = prometheusConfiguration(committed, {
    edgeUrl: 'http://localhost:18787',
    poolUrl: 'http://127.0.0.1:18089',
  });
  expect(workers).toContain("- targets: ['127.0.0.1:18787']");
  expect(workers).toContain("- targets: ['127.0.0.1:18089']");
  expect(workers).toContain('metrics_path: /metrics\n');
  const supabase = prometheusConfiguration(committed, {
    edgeUrl: 'http://localhost:54321/functions/v1/treeline',
    poolUrl: null,
  });
  expect(supabase).toContain("- targets: ['127.0.0.1:54321']");
  expect(supabase).toContain('metrics_path: /functions/v1/treeline/metrics\n');
  expect(supabase).toContain('- targets: []');
  expect(() => prometheusConfiguration('', { edgeUrl: 'http://localhost:1', poolUrl: null })).toThrow(
    "must hold '127.0.0.1:8787' exactly once",
  );
});

it('takes a port after the one that is in use', async () => {
  const taken = await freePort();
  const server = createServer().listen(taken, loopback);
  await new Promise((resolve) => server.once('listening', resolve));
  const near = await freePortNear(taken);
  server.close();
  expect(near).not.toBe(taken);
  expect(near).toBeGreaterThan(0);
});

it('finds a program that is there, and none that is not', async () => {
  expect(await findProgram('sh')).toMatch(/\/sh$/);
  expect(await findProgram('treeline-no-such-program')).toBeNull();
});

it.skipIf(process.getuid?.() === 0)('says what to install where it may not do so itself', async () => {
  const wanted = { title: 'Nothing', program: 'treeline-no-such-program', debian: 'nothing-server', brew: 'nothing' };
  await expect(requireProgram(wanted)).rejects.toThrow(
    'Nothing is not installed. Debian and Ubuntu: apt-get install nothing-server; macOS: brew install nothing.',
  );
});
