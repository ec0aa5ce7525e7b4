/** PostgreSQL as a part of a local run: that of npm, that of the machine, or one that is somewhere else already. */
import { join } from 'node:path';
import { canInstall, installPackages } from './debian-packages.ts';
import { never, type Part } from './part.ts';
import { embeddedBinaries, machineBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import { startCluster } from './postgres-cluster.ts';

/** A part with the URL at which it is reached. */
export interface PostgresPart extends Part {
  readonly url: string;
}

/** The port of a first start, where it is free: next to PostgreSQL's own, which may be taken by the machine's. */
const preferredPort = 54_329;

/** A PostgreSQL that runs anyway: nothing to start, nothing to stop. */
export function existingPostgres(url: string): PostgresPart {
  return { name: 'PostgreSQL at DATABASE_URL', pid: null, failed: never, url, stop: async () => undefined };
}

async function start(binaries: PostgresBinaries, directory: string, name: string): Promise<PostgresPart> {
  const cluster = await startCluster({ binaries, directory, port: preferredPort });
  let stopping = false;
  const failed = new Promise<string>((resolve) => {
    void cluster.ended.then(() => {
      if (!stopping) resolve(`${name} ended by itself.`);
    });
  });
  const stop = () => {
    stopping = true;
    return cluster.stop();
  };
  return { name: `${name} on port ${cluster.port}`, pid: cluster.pid, failed, url: cluster.url, stop };
}

/** The PostgreSQL that npm brought, with its data under `directory`. */
export async function startEmbeddedPostgres(directory: string): Promise<PostgresPart> {
  return start(await embeddedBinaries(), join(directory, 'database'), 'PostgreSQL 18 (embedded)');
}

/**
 * The PostgreSQL of the machine, with data of its own under `directory`; installed where it is missing and we may.
 * Throws with what to install where there is none.
 */
export async function startMachinePostgres(directory: string): Promise<PostgresPart> {
  let binaries = await machineBinaries();
  if (binaries === null && (await canInstall())) {
    await installPackages(['postgresql']);
    binaries = await machineBinaries();
  }
  if (binaries === null)
    throw new Error(
      'PostgreSQL is not installed. Debian and Ubuntu: apt-get install postgresql; macOS: brew install postgresql.',
    );
  return start(binaries, join(directory, 'database-machine'), "PostgreSQL (this machine's)");
}
