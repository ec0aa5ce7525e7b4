/** Programs of the machine's: found on PATH, or installed where they are missing and we may. */
import { access, constants } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { canInstall, installPackages } from './debian-packages.ts';

/** A program, and the packages that bring it. */
export interface Wanted {
  /** What people call it. */
  readonly title: string;
  readonly program: string;
  /** Debian's package. */
  readonly debian: string;
  /** Homebrew's package. */
  readonly brew: string;
}

/** Where Go puts what `go install` builds. */
const goFolder = process.env.GOBIN || join(process.env.GOPATH || join(homedir(), 'go'), 'bin');
/** Where Debian puts servers; other accounts than root have these not on PATH. */
const otherFolders = [goFolder, '/usr/local/sbin', '/usr/sbin'];

/** The path of `name` among the folders of PATH, Go's own and those for servers, or null. */
export async function findProgram(name: string): Promise<string | null> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...otherFolders]) {
    if (folder === '') continue;
    const path = join(folder, name);
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return null;
}

/** The path of the program, installed where it is missing and we may. Throws with what to install where it is not there. */
export async function requireProgram({ title, program, debian, brew }: Wanted): Promise<string> {
  const there = await findProgram(program);
  if (there !== null) return there;
  const hint = `Debian and Ubuntu: apt-get install ${debian}; macOS: brew install ${brew}.`;
  if (!(await canInstall())) throw new Error(`${title} is not installed. ${hint}`);
  await installPackages([debian]).catch((cause: Error) => {
    throw new Error(`${title} is not installed, and installing it failed. ${hint}\n${cause.message}`, { cause });
  });
  const installed = await findProgram(program);
  if (installed === null) throw new Error(`${debian} was installed, but PATH has no ${program}.`);
  return installed;
}
