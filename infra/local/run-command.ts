/** Runs a start from the command line until it is interrupted or a part of it ends. */
import { type StartCommand, startHelp, UsageError } from './command-line.ts';
import { startDetached } from './detach.ts';
import { type Progress, terminalProgress } from './progress.ts';
import type { Stack } from './stack.ts';

/** What differs between `start` and `start-all`. */
export interface CommandKind {
  readonly name: string;
  /** The script's own path. */
  readonly script: string;
  readonly what: string;
  parse(): StartCommand;
  start(command: StartCommand, progress: Progress, signal: AbortSignal): Promise<Stack>;
}

const exitInterrupted = 130;

/** The lines that tell how to use what runs now. */
export function banner(
  { url, key, log, addresses }: Pick<Stack, 'url' | 'key' | 'log' | 'addresses'>,
  end: string,
): string {
  const services = addresses.map((address) => `${address.title}: ${address.url}\n`).join('');
  return `
Treeline answers at ${url}
Key: ${key}   (without a key, requests act as the same development tenant)
Log: ${log}
${services}
curl -s ${url}/v1/embeddings \\
  -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
  -d '{"model":"all-minilm-l6-v2","input":"hello world"}'

${end}
`;
}

/** Resolves with the first signal that asks us to end; a second one ends the process at once. */
export function interrupted(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const ask = (signal: NodeJS.Signals) => {
      if (asked) process.exit(exitInterrupted);
      asked = true;
      resolve(signal);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal));
  });
}

async function serve(kind: CommandKind, command: StartCommand): Promise<number> {
  const asked = interrupted();
  const abort = new AbortController();
  const progress = terminalProgress(process.stdout);
  const starting = kind.start(command, progress, abort.signal);
  const first = await Promise.race([starting, asked]);
  if (typeof first === 'string') {
    console.log('\nInterrupted; stopping what was started.');
    abort.abort();
    await starting.then(
      (stack) => stack.stop(),
      () => undefined,
    );
    return exitInterrupted;
  }
  console.log(banner(first, 'Ctrl-C stops everything.'));
  first.beginBackground(progress);
  const failure = await Promise.race([first.failed, asked.then(() => null)]);
  console.log(failure === null ? '\nStopping.' : `\n${failure}\nStopping the rest.`);
  await first.stop();
  return failure === null ? 0 : 1;
}

async function detach(kind: CommandKind): Promise<number> {
  const parameters = process.argv.slice(2).filter((parameter) => parameter !== '--detach' && parameter !== '-d');
  const started = await startDetached(kind.script, parameters, (text) => process.stdout.write(text));
  console.log(banner(started, 'It runs on; stop it with: make stop'));
  return 0;
}

/** The whole command; returns the exit status. */
export async function runCommand(kind: CommandKind): Promise<number> {
  try {
    const command = kind.parse();
    if (command.help) {
      console.log(startHelp(kind.name, kind.what));
      return 0;
    }
    return await (command.detach ? detach(kind) : serve(kind, command));
  } catch (error) {
    console.error(`\n${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? 2 : 1;
  }
}
