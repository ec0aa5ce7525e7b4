/** `npm run start`: the edge with embedded PostgreSQL and store, on a machine that has no more than Node and pip. */
import { parseStart } from './command-line.ts';
import { runCommand } from './run-command.ts';
import { checkSettings, loadEnvironmentFile } from './settings.ts';
import { startStack } from './stack.ts';

process.exitCode = await runCommand({
  name: 'start',
  script: import.meta.filename,
  what: "Starts Treeline on this machine with an embedded PostgreSQL, and this machine's Redis if it has one.",
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
      services: 'embedded',
      store: embeddedStore ? 'embedded' : 'found',
      ...(pool ? { pool: 'background' as const } : {}),
      environment: process.env,
      progress,
      signal,
    }),
});
// Connections that a driver still holds open must not keep the process.
process.exit();
