/** What start-all brings besides PostgreSQL and Redis: NATS, etcd and Prometheus, seen answering, and ended with the rest. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canInstall } from '../../infra/local/debian-packages.ts';
import { freePort } from '../../infra/local/ports.ts';
import { isAlive } from '../../infra/local/process.ts';
import { findProgram } from '../../infra/local/programs.ts';
import { readRun } from '../../infra/local/run-file.ts';
import { type Stack, startStack } from '../../infra/local/stack.ts';

const programs = ['nats-server', 'etcd', 'prometheus'];
const found = await Promise.all(programs.map(findProgram));
const missing = programs.filter((_, index) => found[index] === null);
const reason = missing.length > 0 && !(await canInstall()) ? `(not here: ${missing.join(', ')})` : '';
/** Packages may have to be installed first. */
const startTimeoutMs = 300_000;

/** The first line that a server sends to whoever connects. */
function greeting(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname).setEncoding('utf8').once('error', reject);
    socket.once('data', (text: string) => {
      socket.destroy();
      resolve(text.split('\r\n')[0] ?? '');
    });
  });
}

async function json(address: string, body?: unknown): Promise<unknown> {
  const response = await fetch(address, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  return response.json();
}

describe.skipIf(reason !== '')(`NATS, etcd and Prometheus ${reason}`, () => {
  let directory: string;
  let stack: Stack;

  const addressOf = (title: string): string => {
    const url = stack.addresses.find((address) => address.title === title)?.url;
    if (url === undefined) throw new Error(`${title} has no address.`);
    return url;
  };
  const child = async (name: string) =>
    (await readRun(directory))?.children.find((candidate) => candidate.name.startsWith(name))?.pid ?? 0;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'treeline-companions-'));
    await chmod(directory, 0o711);
    stack = await startStack({ host: 'workers', port: await freePort(), directory, models: false, companions: true });
  }, startTimeoutMs);
  afterAll(async () => {
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('NATS greets, with JetStream, on loopback', async () => {
    const text = await greeting(addressOf('NATS'));
    expect(text).toMatch(/^INFO \{/);
    expect(JSON.parse(text.slice('INFO '.length))).toMatchObject({ jetstream: true, host: '127.0.0.1' });
  });

  it('etcd gives back what it was given', async () => {
    const key = Buffer.from('tests/key').toString('base64');
    const value = Buffer.from('value').toString('base64');
    await json(`${addressOf('etcd')}/v3/kv/put`, { key, value });
    expect(await json(`${addressOf('etcd')}/v3/kv/range`, { key })).toMatchObject({ kvs: [{ key, value }] });
  });

  it("Prometheus reads the edge's metrics", async () => {
    const query = `${addressOf('Prometheus')}/api/v1/query?query=`;
    const one = { data: { result: [{ metric: { job: 'treeline-edge' }, value: [expect.any(Number), '1'] }] } };
    await expect.poll(() => json(`${query}up`), { timeout: 20_000 }).toMatchObject(one);
    const counted = `${query}${encodeURIComponent('treeline_requests_total{route="/v2/health/ready"}')}`;
    expect(await json(counted)).toMatchObject({ data: { result: [{ metric: { status: '200' } }] } });
  });

  it('one that ends by itself is named, and a stop leaves none of them', async () => {
    const pids = await Promise.all(['NATS', 'etcd', 'Prometheus'].map(child));
    expect(pids.filter(isAlive)).toHaveLength(3);
    process.kill(pids[0] ?? 0, 'SIGKILL');
    expect(await stack.failed).toContain('NATS ended by itself (SIGKILL).');
    await stack.stop();
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await readRun(directory)).toBeNull();
  });
});
