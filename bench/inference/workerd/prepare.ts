/** Bundles the workers and writes workerd's configuration for each. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build } from 'esbuild';

/** One worker: its entry, its WebAssembly module or null, and the folder that its `FILES` service hands out. */
export interface WorkerSource {
  readonly name: string;
  readonly entry: string;
  readonly module: string | null;
  readonly files: string;
}

const COMPATIBILITY_DATE = '2026-08-01';

/** Writes bundle and configuration under `directory`; returns the configuration's path. */
export async function prepareWorker(source: WorkerSource, port: number, directory: string): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const bundle = `${source.name}.js`;
  await build({
    entryPoints: [source.entry],
    outfile: join(directory, bundle),
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    logLevel: 'error',
    conditions: ['workerd', 'worker', 'browser', 'import'],
    external: ['module.wasm', 'node:*', 'module', 'worker_threads'],
  });
  const path = join(directory, `${source.name}.capnp`);
  writeFileSync(path, configuration(source, bundle, port, directory));
  return path;
}

function configuration(source: WorkerSource, bundle: string, port: number, directory: string): string {
  const module =
    source.module === null ? '' : `(name = "module.wasm", wasm = embed "${relative(directory, source.module)}"),`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "main.js", esModule = embed "${bundle}"), ${module}],
      compatibilityDate = "${COMPATIBILITY_DATE}",
      bindings = [(name = "FILES", service = "files")],
    )),
    (name = "files", disk = (path = "${source.files}", writable = false)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}
