/** Runs the scripts that install the tools and build the packages. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { buildScript, type WasmPackage } from './packages.ts';

/** Installs what builds a package, where it is not there. Prints its progress. */
export function installToolchain(root: string, wasmPackage: WasmPackage): void {
  execFileSync('bash', [join(root, 'infra/toolchains/install.sh'), wasmPackage.toolchain], { stdio: 'inherit' });
}

/** The versions of the tools that would build a package here. */
export function toolchainVersions(root: string, wasmPackage: WasmPackage): Record<string, string> {
  const text = execFileSync('bash', [join(root, buildScript(wasmPackage)), '--versions'], { encoding: 'utf8' });
  return parseVersions(text);
}

/** Reads one `tool version` a line; the version may hold spaces. */
export function parseVersions(text: string): Record<string, string> {
  const lines = text.trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => {
      const [, tool, version] = /^(\S+) (.+)$/.exec(line.trim()) ?? [];
      if (tool === undefined || version === undefined) throw new Error(`not a tool and its version: ${line}`);
      return [tool, version];
    }),
  );
}

/** Builds a package into a folder. Prints the build's output. */
export function buildPackage(root: string, wasmPackage: WasmPackage, folder: string): void {
  execFileSync('bash', [join(root, buildScript(wasmPackage)), folder], { stdio: 'inherit' });
}
