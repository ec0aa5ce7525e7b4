/** Supabase's client under Deno, as one edge function calls another: prints what `functions.invoke` gives, as JSON. */
import { createClient } from '@supabase/supabase-js';

const [root = '', key = ''] = process.argv.slice(2);
const client = createClient(root, key);
const { data, error } = await client.functions.invoke('treeline/v1/embeddings', {
  body: { model: 'all-minilm-l6-v2', input: 'hello world' },
});
const runtime = 'Deno' in globalThis ? 'deno' : 'another';
console.log(JSON.stringify({ runtime, failed: error !== null, embedding: data?.data?.[0]?.embedding ?? [] }));
