import { afterEach, expect, test, vi } from 'vitest';
import { hasRelaxedSimd } from './relaxed-simd.ts';

afterEach(() => vi.restoreAllMocks());

test('Node 22 has relaxed SIMD', () => {
  expect(hasRelaxedSimd()).toBe(true);
});

test('the probe asks for the relaxed instruction and for nothing else', () => {
  const validate = WebAssembly.validate;
  let probe = new Uint8Array();
  vi.spyOn(WebAssembly, 'validate').mockImplementation((bytes) => {
    probe = new Uint8Array(bytes as Uint8Array);
    return false;
  });
  expect(hasRelaxedSimd()).toBe(false);
  const at = probe.length - 3;
  expect([...probe.slice(at)]).toEqual([0x92, 0x02, 0x0b]);
  // Opcode 0x12f is the last relaxed one that is reserved and not given out: with it the same module is not valid.
  expect(validate(probe.map((byte, index) => (index === at ? 0xaf : byte)))).toBe(false);
});

test('a host that forbids validation counts as one without', () => {
  vi.spyOn(WebAssembly, 'validate').mockImplementation(() => {
    throw new WebAssembly.CompileError('code generation disallowed by embedder');
  });
  expect(hasRelaxedSimd()).toBe(false);
});
