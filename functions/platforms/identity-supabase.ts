/** Users of Supabase Auth: their tokens are verified by the project's published keys (JWKS), through supabase-js. */
import { createClient, isAuthRetryableFetchError } from '@supabase/supabase-js';
import type { Configuration } from '../configuration.ts';
import type { Identity } from '../ports.ts';

/** The tenant that an administrator wrote into the user's `app_metadata`, which the user cannot change. */
function tenantOf(claims: Record<string, unknown>): string | null {
  const metadata = claims.app_metadata;
  const tenantId =
    typeof metadata === 'object' && metadata !== null && 'tenant_id' in metadata ? metadata.tenant_id : null;
  return typeof tenantId === 'string' && /^[0-9a-f-]{36}$/i.test(tenantId) ? tenantId : null;
}

/** The port `Identity` for a Supabase project. Keys are fetched once and kept by the client. */
export function createSupabaseIdentity({ url, key }: NonNullable<Configuration['supabase']>): Identity {
  const stateless = { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false };
  // JWKS is public; the client only insists on some key being there.
  const client = createClient(url, key ?? 'public', { auth: stateless });
  return {
    async verify(token) {
      const { data, error } = await client.auth.getClaims(token);
      if (error !== null && isAuthRetryableFetchError(error)) throw error;
      const claims = data?.claims;
      if (claims === undefined) return null;
      return { subject: claims.sub, tenantId: tenantOf(claims) };
    },
  };
}
