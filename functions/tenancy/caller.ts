/** Who calls: a key of a tenant, a user of the identity provider, or, locally, nobody in particular. */
export interface Caller {
  readonly tenantId: string;
  /** The key that was shown; null for a user's token and for anonymous calls. */
  readonly keyId: string | null;
}

/** What a request shows of its caller. `malformed` is a header that no client of ours sends. */
export type Credential =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'malformed' };

/** Longest credential that is looked at; a JSON Web Token with many claims stays below. */
const credentialLengthMax = 8_192;
const keyShape = /^tl_[A-Za-z0-9_-]{16,128}$/;
const tokenShape = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * Reads the credential from the headers: `x-api-key` first, since only our own callers send it, while supabase-js fills
 * `Authorization: Bearer …` (RFC 6750) by itself; then that, then `apikey`, which supabase-js sends as well.
 */
export function credentialOf(header: (name: string) => string | undefined): Credential {
  const authorization = header('authorization');
  const shown = header('x-api-key') ?? (authorization === undefined ? header('apikey') : bearer(authorization));
  if (shown === undefined) return { kind: 'none' };
  if (shown === null || shown.length > credentialLengthMax) return { kind: 'malformed' };
  if (keyShape.test(shown)) return { kind: 'key', key: shown };
  return tokenShape.test(shown) ? { kind: 'token', token: shown } : { kind: 'malformed' };
}

/** The credential of a Bearer header; null where the scheme is another one. */
function bearer(authorization: string): string | null {
  return /^Bearer +([^\s]+) *$/i.exec(authorization)?.[1] ?? null;
}
