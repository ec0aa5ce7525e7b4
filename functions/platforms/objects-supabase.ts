/** Weights from a bucket of Supabase Storage, streamed by supabase-js. */
import { createClient } from '@supabase/supabase-js';
import type { Configuration } from '../configuration.ts';
import type { ObjectStore } from '../ports.ts';

/** The port `ObjectStore` for the bucket `bucket` of a project. */
export function createBucketStore({ url, key }: NonNullable<Configuration['supabase']>, bucket: string): ObjectStore {
  const stateless = { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false };
  const storage = createClient(url, key ?? 'public', { auth: stateless }).storage.from(bucket);
  return {
    async open(name) {
      const { data, error } = await storage.download(name).asStream();
      if (error === null) return data;
      // Storage answers 400 for an object that is not there, and says 404 in the body.
      if ('status' in error && (error.status === 404 || error.status === 400)) return null;
      throw error;
    },
  };
}
