import { expect, test } from 'vitest';
import { type Credential, credentialOf } from './caller.ts';

const key = `tl_${'a1'.repeat(24)}`;
const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1In0.c2ln-_x';
const asKey: Credential = { kind: 'key', key };
const asToken: Credential = { kind: 'token', token };
const none: Credential = { kind: 'none' };
const malformed: Credential = { kind: 'malformed' };

test.each<[string, Record<string, string>, Credential]>([
  ['no header', {}, none],
  ['a key as Bearer', { authorization: `Bearer ${key}` }, asKey],
  ['the scheme in any case', { authorization: `bearer ${key}` }, asKey],
  ['several blanks', { authorization: `Bearer   ${key}  ` }, asKey],
  ['a token as Bearer', { authorization: `Bearer ${token}` }, asToken],
  ['x-api-key', { 'x-api-key': key }, asKey],
  ['apikey, as supabase-js sends it', { apikey: key }, asKey],
  ['x-api-key before Authorization', { authorization: `Bearer ${token}`, 'x-api-key': key }, asKey],
  ['x-api-key before apikey', { 'x-api-key': token, apikey: key }, asToken],
  ['Basic', { authorization: 'Basic dXNlcjpwYXNz' }, malformed],
  ['Bearer without anything', { authorization: 'Bearer' }, malformed],
  ['Bearer with a blank inside', { authorization: `Bearer ${key} ${key}` }, malformed],
  ['the key without its scheme', { authorization: key }, malformed],
  ['a bad Authorization does not fall back to apikey', { authorization: 'Basic x', apikey: key }, malformed],
  ['another product’s key', { authorization: 'Bearer sk-1234567890abcdef1234' }, malformed],
  ['a key that is too short', { authorization: 'Bearer tl_short' }, malformed],
  ['a key that is too long', { authorization: `Bearer tl_${'a'.repeat(129)}` }, malformed],
  ['a key with a stray character', { authorization: `Bearer ${key}'` }, malformed],
  ['a token with two parts', { authorization: 'Bearer a.b' }, malformed],
  ['a token with four parts', { authorization: 'Bearer a.b.c.d' }, malformed],
  ['a token over the bound', { authorization: `Bearer a.${'b'.repeat(8_192)}.c` }, malformed],
  ['an empty x-api-key', { 'x-api-key': '' }, malformed],
])('%s', (_, headers, expected) => {
  expect(credentialOf((name) => headers[name])).toEqual(expected);
});
