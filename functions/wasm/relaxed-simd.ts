/**
 * The smallest module that needs relaxed SIMD: one function, of type () -> v128, that multiplies two zero vectors by
 * `i16x8.relaxed_dot_i8x16_i7x16_s` (opcode 0xfd 0x112, relaxed SIMD proposal, phase 5 of WebAssembly).
 */
const probe = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // "\0asm", version 1
  ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b], // types: () -> v128
  ...[0x03, 0x02, 0x01, 0x00], // functions: one of type 0
  ...[0x0a, 0x0f, 0x01, 0x0d, 0x00], // code: one body of 13 bytes without locals
  ...[0x41, 0x00, 0xfd, 0x0f], // i32.const 0; i8x16.splat
  ...[0x41, 0x00, 0xfd, 0x0f], // i32.const 0; i8x16.splat
  ...[0xfd, 0x92, 0x02, 0x0b], // i16x8.relaxed_dot_i8x16_i7x16_s; end
);

/**
 * Whether this host runs relaxed SIMD. Validation compiles nothing, but a host that forbids compiling may forbid it
 * too; it then counts as without, and its platform file says what is known of it instead.
 */
export function hasRelaxedSimd(): boolean {
  try {
    return WebAssembly.validate(probe);
  } catch {
    return false;
  }
}
