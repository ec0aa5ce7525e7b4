/** Prometheus as a part of a local run: the machine's `prometheus`, which reads the metrics of the edge and of the pool. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServicePart } from './part.ts';
import { projectDirectory } from './paths.ts';
import { freePortNear, loopback } from './ports.ts';
import { requireProgram } from './programs.ts';
import { writeSecretFile } from './secret-file.ts';
import { answersOk, startService } from './service-part.ts';

const preferredPort = 9090;
const retention = { time: '7d', size: '256MB' };

/** What the committed configuration reads: the edge and the pool of a start without flags. */
const committedEdge = `'${loopback}:8787'`;
const committedPath = 'metrics_path: /metrics\n';
const committedPool = `'${loopback}:8089'`;

/** What runs and has metrics. */
export interface MeasuredParts {
  readonly edgeUrl: string;
  /** A node of the pool; null: there is none. */
  readonly poolUrl: string | null;
}

/** `configuration` with the metrics of `parts`. Throws where it does not name the usual edge and pool once. */
export function prometheusConfiguration(configuration: string, { edgeUrl, poolUrl }: MeasuredParts): string {
  const edge = new URL(`${edgeUrl}/metrics`);
  const target = (url: URL): string => `'${loopback}:${url.port}'`;
  const replacements = [
    [committedEdge, target(edge)],
    [committedPath, `metrics_path: ${edge.pathname}\n`],
    [committedPool, poolUrl === null ? '' : target(new URL(poolUrl))],
  ] as const;
  return replacements.reduce((text, [committed, own]) => {
    if (text.split(committed).length !== 2)
      throw new Error(`infra/prometheus/prometheus.yml must hold ${committed.trim()} exactly once.`);
    return text.replace(committed, own);
  }, configuration);
}

/** Starts Prometheus on the metrics of `parts`. Throws with what to install where it is missing. */
export async function startPrometheus(parts: MeasuredParts, directory: string): Promise<ServicePart> {
  const wanted = { title: 'Prometheus', program: 'prometheus', debian: 'prometheus', brew: 'prometheus' };
  const program = await requireProgram(wanted);
  const port = await freePortNear(preferredPort);
  const data = join(directory, 'prometheus');
  await mkdir(data, { recursive: true, mode: 0o700 });
  const file = join(directory, 'prometheus.yml');
  const committed = await readFile(join(projectDirectory, 'infra/prometheus/prometheus.yml'), 'utf8');
  await writeSecretFile(file, prometheusConfiguration(committed, parts));
  const settings = {
    'config.file': file,
    'storage.tsdb.path': data,
    'storage.tsdb.retention.time': retention.time,
    'storage.tsdb.retention.size': retention.size,
    'web.listen-address': `${loopback}:${port}`,
    'log.level': 'warn',
  };
  const parameters = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const url = `http://${loopback}:${port}`;
  const isReady = () => answersOk(`${url}/-/ready`);
  const service = await startService({ title: 'Prometheus', program, parameters, directory, isReady });
  return { ...service, name: `Prometheus on port ${port}`, address: { title: 'Prometheus', url } };
}
