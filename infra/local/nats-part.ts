/** NATS with JetStream as a part of a local run: the machine's `nats-server`, with its store in the state folder. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServicePart } from './part.ts';
import { freePortNear, loopback } from './ports.ts';
import { requireProgram } from './programs.ts';
import { writeSecretFile } from './secret-file.ts';
import { answersOk, startService } from './service-part.ts';

const preferredPort = 4222;
const preferredMonitoringPort = 8222;
const versionTimeoutMs = 10_000;

/** Major and minor of the first version that knows `sync_interval`; before, the key is an error. */
const syncIntervalSince = [2, 10] as const;

/** What a configuration says. */
export interface NatsSettings {
  /** As `nats-server --version` prints it, such as `nats-server: v2.9.10`. */
  readonly version: string;
  readonly port: number;
  readonly monitoringPort: number;
  readonly storeDirectory: string;
}

function knowsSyncInterval(version: string): boolean {
  const [, major, minor] = /v?(\d+)\.(\d+)/.exec(version) ?? [];
  const [sinceMajor, sinceMinor] = syncIntervalSince;
  return Number(major) > sinceMajor || (Number(major) === sinceMajor && Number(minor) >= sinceMinor);
}

/** The configuration file: loopback only; each message on disk before it is confirmed, where the version can do that. */
export function natsConfiguration({ version, port, monitoringPort, storeDirectory }: NatsSettings): string {
  const sync = knowsSyncInterval(version) ? '\n  sync_interval: always' : '';
  return `host: ${loopback}
port: ${port}
http: "${loopback}:${monitoringPort}"
jetstream {
  store_dir: ${JSON.stringify(storeDirectory)}
  max_memory_store: 64MB
  max_file_store: 1GB${sync}
}
`;
}

/** Starts NATS and answers once it and JetStream are healthy. Throws with what to install where it is missing. */
export async function startNats(directory: string): Promise<ServicePart> {
  const wanted = { title: 'NATS', program: 'nats-server', debian: 'nats-server', brew: 'nats-server' };
  const program = await requireProgram(wanted);
  const { stdout: version } = await promisify(execFile)(program, ['--version'], { timeout: versionTimeoutMs });
  const port = await freePortNear(preferredPort);
  const monitoringPort = await freePortNear(preferredMonitoringPort);
  const storeDirectory = join(directory, 'nats');
  await mkdir(storeDirectory, { recursive: true, mode: 0o700 });
  const file = join(directory, 'nats.conf');
  await writeSecretFile(file, natsConfiguration({ version, port, monitoringPort, storeDirectory }));
  const health = `http://${loopback}:${monitoringPort}/healthz`;
  const isReady = () => answersOk(health);
  const service = await startService({ title: 'NATS', program, parameters: ['-c', file], directory, isReady });
  return {
    ...service,
    name: `NATS on port ${port} with JetStream, monitoring on ${monitoringPort}`,
    address: { title: 'NATS', url: `nats://${loopback}:${port}` },
  };
}
