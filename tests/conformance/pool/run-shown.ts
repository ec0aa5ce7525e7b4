/** Runs a command with variables of its own, shows what it prints, and answers with it. */
import { spawn } from 'node:child_process';
import { projectDirectory } from '../../../infra/local/paths.ts';

/** The command runs in the project's folder. */
export function runShown(
  program: string,
  parameters: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<[output: string, exitCode: number]> {
  const child = spawn(program, parameters, {
    cwd: projectDirectory,
    env: { ...process.env, ...variables, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      process.stdout.write(text);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve([output, code ?? 1]));
  });
}
