/** Fetches the original files of the encoder, which the Rust tests compare with: in the cache that all clones share. */
import { silentProgress } from '../../infra/local/progress.ts';
import { ensureModelFiles } from '../../infra/models/fetch.ts';

console.log(await ensureModelFiles('all-minilm-l6-v2', silentProgress));
