/**
 * Makes an authority of this machine's own, and a server's and a client's certificate of it, for TLS between the edge, the
 * pool and its services. What is there and good is left alone. `node infra/certificates/make.ts [--help]`
 *
 * The work is done by pool/server/cmd/treeline-certificates: Node cannot sign certificates.
 */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { projectDirectory, stateDirectory } from '../local/paths.ts';
import { findProgram } from '../local/programs.ts';

const usage = `Makes certificates for TLS between the edge, the pool and its services, signed by an authority of this machine's own.

Usage: npm run certificates -- [flags]

  --folder FOLDER  where they lie; made for its owner alone (.treeline/certificates)
  --hosts HOSTS    names and IP addresses, divided by commas (localhost,127.0.0.1,::1)
  -h, --help       this text

Files: ca.crt and ca.key, server.crt and server.key, client.crt and client.key. What is there and good for a month more is
left alone; a server that runs takes new files up by itself.
`;

/** What the command line asks for. */
interface Command {
  readonly folder: string;
  readonly hosts: string;
  readonly help: boolean;
}

function parse(parameters: string[]): Command {
  const { values } = parseArgs({
    args: parameters,
    options: {
      folder: { type: 'string', default: join(stateDirectory, 'certificates') },
      hosts: { type: 'string', default: 'localhost,127.0.0.1,::1' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return { ...values, folder: resolve(values.folder) };
}

/** Runs the Go program and gives its exit status. */
async function make({ folder, hosts }: Command): Promise<number> {
  const go = await findProgram('go');
  if (go === null)
    throw new Error('Go is not installed. Debian and Ubuntu: apt-get install golang; macOS: brew install go.');
  const parameters = ['run', './cmd/treeline-certificates', '-folder', folder, '-hosts', hosts];
  const child = spawn(go, parameters, { cwd: join(projectDirectory, 'pool', 'server'), stdio: 'inherit' });
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('exit', (code) => done(code ?? 1));
  });
}

try {
  const command = parse(process.argv.slice(2));
  if (command.help) process.stdout.write(usage);
  else process.exitCode = await make(command);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
