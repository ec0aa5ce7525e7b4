/** The files that are under version control, as text. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** One tracked file. */
export interface SourceFile {
  readonly path: string;
  readonly lines: readonly string[];
}

/** What is generated or data, and so speaks of tools and places by itself. */
const generated = /(^|\/)(package-lock\.json|Cargo\.lock|go\.sum|pkg\/.*|dist\/.*|gen\/.*)$/;
const binary = /\.(wasm|tlm|f16|u16|png|svg|jsonl|binpb)$/;

/** All tracked files, and those that are about to be, but for generated ones and data. */
export function trackedFiles(): SourceFile[] {
  // A clone that belongs to another user, as on CI, is read all the same.
  const parameters = ['-c', 'safe.directory=*', 'ls-files', '--cached', '--others', '--exclude-standard'];
  const paths = execFileSync('git', parameters, { encoding: 'utf8', maxBuffer: 16 * 1_048_576 }).split('\n');
  const sources = paths.filter((path) => path !== '' && !generated.test(path) && !binary.test(path));
  return sources.flatMap((path) => {
    try {
      return [{ path, lines: readFileSync(path, 'utf8').split('\n') }];
    } catch {
      return []; // Deleted in the working tree.
    }
  });
}

/** Each line of `files` that matches `pattern`, as `path:line: text`. */
export function linesWith(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, at) => (pattern.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : [])),
  );
}
