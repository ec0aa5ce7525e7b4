/**
 * `npm run start-all`: as `start`, with the machine's own PostgreSQL and Redis instead of the embedded ones, with its
 * NATS, etcd and Prometheus, a node of the inference pool that uses these, and with the ports on which clients look for single services.
 */
import { parseStart } from './command-line.ts';
import { runCommand } from './run-command.ts';
import { checkSettings, loadEnvironmentFile } from './settings.ts';
import { startStack } from './stack.ts';

/** `POST :8086/infer`, `GET :8090/api/v1/tracing/trace`, `GET :8091/metrics`; the pool has 8089 to itself. */
const servicePorts = [8086, 8090, 8091];

process.exitCode = await runCommand({
  name: 'start-all',
  script: import.meta.filename,
  what:
    "Starts Treeline with this machine's PostgreSQL, Redis, NATS, etcd and Prometheus, and with a port for each " +
    'service of the edge. What is missing is installed where that is possible: on Debian and Ubuntu, as root.',
  parse() {
    loadEnvironmentFile();
    checkSettings(process.env);
    return parseStart(process.argv.slice(2), process.env);
  },
  start: ({ host, port, models, seed, embeddedStore, pool }, progress, signal) =>
    startStack({
      host,
      port,
      models,
      seed,
      services: 'machine',
      store: embeddedStore ? 'embedded' : 'machine',
      companions: true,
      forwardedPorts: servicePorts,
      ...(pool ? { pool: 'part' as const } : {}),
      environment: process.env,
      progress,
      signal,
    }),
});
// Connections that a driver still holds open must not keep the process.
process.exit();
