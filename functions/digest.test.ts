import { expect, test } from 'vitest';
import { hex, sha256 } from './digest.ts';

test('bytes become two digits each, in order', () => {
  expect(hex(Uint8Array.of(0, 1, 15, 16, 255))).toBe('00010f10ff');
});

test('text and its bytes have the hash that FIPS 180-2 gives for "abc"', async () => {
  const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(await sha256('abc')).toBe(expected);
  expect(await sha256(new TextEncoder().encode('abc'))).toBe(expected);
});
