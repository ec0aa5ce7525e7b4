import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { ManualClock, ScriptedSql } from '../../tests/support/ports.ts';
import { type Identity, SqlUnavailable } from '../ports.ts';
import { Authentication, hashKey, keyMemoryMs, keysRemembered, refusalMemoryMs } from './authentication.ts';
import type { Credential } from './caller.ts';

const key = `tl_${'0123456789abcdef'.repeat(3)}`;
const shown: Credential = { kind: 'key', key };
const row = { key_id: 'key-1', tenant_id: 'tenant-1', tenant_name: 'One' };
const anonymousTenantId = '00000000-0000-4000-8000-000000000001';

function setUp(options: { identity?: Identity; anonymous?: boolean } = {}) {
  const clock = new ManualClock();
  const sql = new ScriptedSql(() => [row]);
  const ports = { sql, clock, identity: options.identity ?? null };
  const authentication = new Authentication(ports, options.anonymous === true ? anonymousTenantId : null);
  const code = (credential: Credential) =>
    authentication.authenticate(credential).then(
      () => 'ok',
      (thrown) => thrown.code ?? thrown.name,
    );
  return { clock, sql, authentication, code };
}

test('a key is looked up by its SHA-256 and never sent itself', async () => {
  const { authentication, sql } = setUp();
  expect(await authentication.authenticate(shown)).toEqual({ tenantId: 'tenant-1', keyId: 'key-1' });
  expect(await hashKey(key)).toBe(createHash('sha256').update(key).digest('hex'));
  expect(sql.statements[0]?.parameters).toEqual([await hashKey(key)]);
  expect(JSON.stringify(sql.statements)).not.toContain(key);
});

test('a good key is believed for a minute and asked for again after it', async () => {
  const { authentication, clock, sql } = setUp();
  await authentication.authenticate(shown);
  clock.advance(keyMemoryMs - 1);
  await authentication.authenticate(shown);
  expect(sql.statements).toHaveLength(1);
  clock.advance(1);
  await authentication.authenticate(shown);
  expect(sql.statements).toHaveLength(2);
});

test('a key that is revoked ends when the memory of it does', async () => {
  const { clock, code, sql } = setUp();
  expect(await code(shown)).toBe('ok');
  sql.answer = () => [];
  expect(await code(shown)).toBe('ok');
  clock.advance(keyMemoryMs);
  expect(await code(shown)).toBe('invalid_api_key');
});

test('a wrong key is refused from memory, shortly, so that a key made just now soon works', async () => {
  const { clock, code, sql } = setUp();
  sql.answer = () => [];
  expect(await code(shown)).toBe('invalid_api_key');
  sql.answer = () => [row];
  expect(await code(shown)).toBe('invalid_api_key');
  expect(sql.statements).toHaveLength(1);
  clock.advance(refusalMemoryMs);
  expect(await code(shown)).toBe('ok');
});

test('with the database away a known key goes on and an unknown one waits for it', async () => {
  const { code, sql } = setUp();
  expect(await code(shown)).toBe('ok');
  sql.answer = () => {
    throw new SqlUnavailable('refused');
  };
  expect(await code(shown)).toBe('ok');
  expect(await code({ kind: 'key', key: `${key}2` })).toBe('SqlUnavailable');
  sql.answer = () => [row];
  expect(await code({ kind: 'key', key: `${key}2` })).toBe('ok');
});

test('what is remembered is bounded: the longest unused answer leaves', async () => {
  const { code, sql } = setUp();
  const keyNumber = (number: number): Credential => ({ kind: 'key', key: `tl_${String(number).padStart(20, '0')}` });
  for (let number = 0; number <= keysRemembered; number += 1) await code(keyNumber(number));
  expect(sql.statements).toHaveLength(keysRemembered + 1);
  await code(keyNumber(keysRemembered));
  expect(sql.statements).toHaveLength(keysRemembered + 1);
  await code(keyNumber(0));
  expect(sql.statements).toHaveLength(keysRemembered + 2);
});

test('without a credential: the anonymous tenant where there is one, else a demand for a key', async () => {
  expect(await setUp().code({ kind: 'none' })).toBe('missing_api_key');
  const { authentication } = setUp({ anonymous: true });
  expect(await authentication.authenticate({ kind: 'none' })).toEqual({ tenantId: anonymousTenantId, keyId: null });
});

test('a wrong credential never becomes the anonymous tenant', async () => {
  const { code, sql } = setUp({ anonymous: true });
  sql.answer = () => [];
  expect(await code(shown)).toBe('invalid_api_key');
  expect(await code({ kind: 'malformed' })).toBe('invalid_api_key');
  expect(await code({ kind: 'token', token: 'a.b.c' })).toBe('invalid_api_key');
});

const token: Credential = { kind: 'token', token: 'a.b.c' };

test.each<[string, Identity['verify'], string]>([
  ['a token of a tenant', async () => ({ subject: 'user', tenantId: 'tenant-2' }), 'ok'],
  ['a token of no tenant', async () => ({ subject: 'user', tenantId: null }), 'forbidden'],
  ['a token that is not valid', async () => null, 'invalid_api_key'],
  ['a provider that is away', () => Promise.reject(new Error('refused')), 'identity_unavailable'],
])('%s', async (_, verify, expected) => {
  expect(await setUp({ identity: { verify } }).code(token)).toBe(expected);
});
