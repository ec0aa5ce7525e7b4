/** etcd as a part of a local run: one member, the machine's `etcd`, with its data in the state folder. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServicePart } from './part.ts';
import { freePortNear, loopback } from './ports.ts';
import { requireProgram } from './programs.ts';
import { answersOk, startService } from './service-part.ts';

const preferredPort = 2379;
const memberName = 'treeline';

/** Starts etcd and answers once it is healthy. Throws with what to install where it is missing. */
export async function startEtcd(directory: string): Promise<ServicePart> {
  const program = await requireProgram({ title: 'etcd', program: 'etcd', debian: 'etcd-server', brew: 'etcd' });
  const port = await freePortNear(preferredPort);
  const url = `http://${loopback}:${port}`;
  const peerUrl = `http://${loopback}:${await freePortNear(port + 1)}`;
  const data = join(directory, 'etcd');
  await mkdir(data, { recursive: true, mode: 0o700 });
  const settings = {
    name: memberName,
    'data-dir': data,
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `${memberName}=${peerUrl}`,
    'log-level': 'warn',
  };
  const parameters = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const isReady = () => answersOk(`${url}/health`);
  const service = await startService({ title: 'etcd', program, parameters, directory, isReady });
  return { ...service, name: `etcd on port ${port}`, address: { title: 'etcd', url } };
}
