/**
 * `npm run test` (`make test`): all tests of the project, one stage after the other, whatever fails. Ends with a table
 * and a last line `N passed, N failed`.
 *
 *   --only stage,stage   Only these.
 *   --help               The stages.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stateDirectory } from '../infra/local/paths.ts';
import { isInstalled, runCommand } from './runner/command.ts';
import type { Counts } from './runner/counts.ts';
import { type Stage, stages } from './runner/stages.ts';

/** Time that one command may take where its stage says nothing, in seconds. */
const limitSecondsDefault = 600;
/** Lines of a failed stage that are shown; the file has all. */
const linesShown = 150;
const logFolder = join(stateDirectory, 'test', 'logs');

interface Outcome extends Counts {
  readonly stage: Stage;
  readonly seconds: number;
  readonly note: string;
}

function help(): void {
  console.log('make test ARGS="--only stage,stage"\n');
  for (const { name, title, onRequest } of stages)
    console.log(`  ${name.padEnd(22)} ${title}${onRequest === true ? ' (only by its name)' : ''}`);
}

function chosen(only: string | undefined): readonly Stage[] {
  if (only === undefined) return stages.filter(({ onRequest }) => onRequest !== true);
  const names = only.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !stages.some((stage) => stage.name === name));
  if (unknown.length > 0) throw new Error(`There is no stage ${unknown.join(', ')}; see --help.`);
  return stages.filter(({ name }) => names.includes(name));
}

/** A stage whose program is missing: left out on a user's machine, a failure on CI. */
function missing(stage: Stage, program: string): Outcome {
  const onCi = process.env.CI !== undefined && process.env.CI !== '' && process.env.CI !== 'false';
  console.log(`${onCi ? 'FAILED' : 'left out'}: ${program} is not installed`);
  return { stage, passed: 0, failed: onCi ? 1 : 0, seconds: 0, note: `${program} is not installed` };
}

async function run(stage: Stage): Promise<Outcome> {
  console.log(`\n== ${stage.name}: ${stage.title}`);
  if (stage.needs !== undefined && !isInstalled(stage.needs)) return missing(stage, stage.needs);
  const startedAt = performance.now();
  const logPath = join(logFolder, `${stage.name}.log`);
  rmSync(logPath, { force: true });
  let output = '';
  let exitCode = 0;
  for (const command of stage.commands) {
    const limitMs = (stage.limitSeconds ?? limitSecondsDefault) * 1e3;
    const ended = await runCommand(command, stage.folder ?? '.', limitMs, logPath);
    output += ended.output;
    exitCode = ended.exitCode;
    if (exitCode !== 0) break;
  }
  const { passed, failed } = stage.counts(output, exitCode);
  const seconds = (performance.now() - startedAt) / 1e3;
  if (failed > 0) {
    console.log(output.trimEnd().split('\n').slice(-linesShown).join('\n'));
    console.log(`all of it: ${logPath}`);
  }
  const counted = stage.prepares === true ? { passed: 0, failed } : { passed, failed };
  console.log(`${failed === 0 ? 'ok' : 'FAILED'}: ${counted.passed} passed, ${failed} failed, ${seconds.toFixed(1)} s`);
  return { stage, ...counted, seconds, note: '' };
}

function table(outcomes: readonly Outcome[]): void {
  console.log(`\n${'stage'.padEnd(22)} ${'passed'.padStart(7)} ${'failed'.padStart(7)} ${'seconds'.padStart(8)}`);
  for (const { stage, passed, failed, seconds, note } of outcomes) {
    const figures = `${String(passed).padStart(7)} ${String(failed).padStart(7)} ${seconds.toFixed(1).padStart(8)}`;
    console.log(`${stage.name.padEnd(22)} ${figures} ${note}`.trimEnd());
  }
}

const { values } = parseArgs({ options: { only: { type: 'string' }, help: { type: 'boolean', default: false } } });
if (values.help) {
  help();
} else {
  mkdirSync(logFolder, { recursive: true });
  const outcomes: Outcome[] = [];
  for (const stage of chosen(values.only)) outcomes.push(await run(stage));
  table(outcomes);
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const failed = sum((outcome) => outcome.failed);
  console.log(`\n${sum((outcome) => outcome.seconds).toFixed(0)} s`);
  console.log(`${sum((outcome) => outcome.passed)} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
