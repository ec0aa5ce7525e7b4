import { expect, test } from 'vitest';
import { cacheStatus, cacheWishesOf } from './cache-status.ts';

test.each([
  [undefined, true, true, null],
  ['', true, true, null],
  ['no-cache', false, true, null],
  ['no-store', false, false, null],
  ['NO-STORE', false, false, null],
  ['no-cache, no-store', false, false, null],
  ['max-age=60', true, true, 60],
  ['max-age="60"', true, true, 60],
  [' max-age=60 , no-transform', true, true, 60],
  ['max-age=0', false, true, 0],
  ['max-age=-1', true, true, null],
  ['max-age=1e3', true, true, null],
  ['max-age', true, true, null],
  ['private, stale-while-revalidate=9, unknown="a"', true, true, null],
  ['no-stores', true, true, null],
])('Cache-Control %j', (header, mayRead, mayStore, maxAgeSeconds) => {
  expect(cacheWishesOf(header)).toEqual({ mayRead, mayStore, maxAgeSeconds });
});

test('each outcome in the syntax of RFC 9211', () => {
  expect(cacheStatus({ kind: 'hit', tier: 'shared', ttlSeconds: 12 })).toBe('Treeline; hit; ttl=12; detail=shared');
  expect(cacheStatus({ kind: 'miss', stored: true })).toBe('Treeline; fwd=uri-miss; stored');
  expect(cacheStatus({ kind: 'miss', stored: false, detail: 'too-large' })).toBe(
    'Treeline; fwd=uri-miss; detail=too-large',
  );
  expect(cacheStatus({ kind: 'bypass' })).toBe('Treeline; fwd=request');
});
