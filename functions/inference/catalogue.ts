/** The models that compute in the isolate. Sizes and hashes stand in the manifest by which the weights are made. */
import manifest from '../../infra/models/manifest.json' with { type: 'json' };
import type { ModelDescription } from './engine.ts';

/** A model and where its weights come from. */
export interface CatalogueEntry extends ModelDescription {
  readonly bytes: number;
  /** Its name in the host's object store, or `bundle` where it travels with the code. */
  readonly source: { readonly kind: 'object'; readonly name: string } | { readonly kind: 'bundle' };
  readonly aliases: readonly string[];
}

/** Size and hash of the model's `.tlm` file, as the manifest pins them. */
function weights(name: string): { bytes: number; sha256: string; licence: string } {
  const model = manifest.models.find((one) => one.name === name);
  const [output] = model !== undefined && 'outputs' in model ? (model.outputs ?? []) : [];
  if (model === undefined || output === undefined) throw new Error(`The model manifest does not name ${name}.`);
  return { bytes: output.bytes, sha256: output.sha256, licence: model.licence };
}

/** First of November 2026, when these weights were made, in seconds since the epoch. */
const createdAt = 1_793_491_200;

/** All in-isolate models; the first one is the default. */
export const catalogue: readonly CatalogueEntry[] = [
  {
    name: 'all-minilm-l6-v2',
    version: '1',
    kind: 'bert',
    dimensions: 384,
    tokensMax: 256,
    createdAt,
    source: { kind: 'object', name: 'models/all-minilm-l6-v2.tlm' },
    aliases: ['test', 'sentence-transformers/all-MiniLM-L6-v2'],
    ...weights('all-minilm-l6-v2'),
  },
  {
    name: 'treeline-static-v1',
    version: '1',
    kind: 'static',
    dimensions: 256,
    tokensMax: 512,
    createdAt,
    source: { kind: 'bundle' },
    aliases: [],
    ...weights('treeline-static-v1'),
  },
];
