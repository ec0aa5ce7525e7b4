/**
 * What the cache did, as the `Cache-Status` field of RFC 9211, and what a client wants of it, from the request's
 * `Cache-Control` (RFC 9111, section 5.2.1).
 */

/** Where an answer came from. `fwd` is why it was not in the cache. */
export type CacheOutcome =
  | { readonly kind: 'hit'; readonly tier: 'isolate' | 'shared'; readonly ttlSeconds: number }
  | { readonly kind: 'miss'; readonly stored: boolean; readonly detail?: 'too-large' }
  | { readonly kind: 'bypass' };

/** What the request allows. */
export interface CacheWishes {
  readonly mayRead: boolean;
  readonly mayStore: boolean;
  /** Oldest answer that is wanted, in seconds; null where the client does not say. */
  readonly maxAgeSeconds: number | null;
}

/** Reads the request's `Cache-Control`; unknown directives are ignored, as the RFC asks. */
export function cacheWishesOf(cacheControl: string | undefined): CacheWishes {
  const directives = (cacheControl ?? '')
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim());
  const maxAge = directives.map((directive) => /^max-age="?(\d{1,9})"?$/.exec(directive)?.[1]).find(Boolean);
  const maxAgeSeconds = maxAge === undefined ? null : Number(maxAge);
  const mayStore = !directives.includes('no-store');
  return { mayRead: mayStore && !directives.includes('no-cache') && maxAgeSeconds !== 0, mayStore, maxAgeSeconds };
}

/** The field's value, such as `Treeline; hit; ttl=3600; detail=isolate`. */
export function cacheStatus(outcome: CacheOutcome): string {
  switch (outcome.kind) {
    case 'hit':
      return `Treeline; hit; ttl=${outcome.ttlSeconds}; detail=${outcome.tier}`;
    case 'miss': {
      const detail = outcome.detail === undefined ? '' : `; detail=${outcome.detail}`;
      return `Treeline; fwd=uri-miss${outcome.stored ? '; stored' : ''}${detail}`;
    }
    case 'bypass':
      return 'Treeline; fwd=request';
  }
}
