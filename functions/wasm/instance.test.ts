import { expect, test } from 'vitest';
import { isTrap, LiveInstance, WasmTrapped } from './instance.ts';

/** A module of two functions: `trap` runs `unreachable`, `deep` calls itself for ever. */
const module = new WebAssembly.Module(
  Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // "\0asm", version 1
    ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00], // types: () -> ()
    ...[0x03, 0x03, 0x02, 0x00, 0x00], // functions: two of type 0
    ...[0x07, 0x0f, 0x02], // exports: two
    ...[0x04, 0x74, 0x72, 0x61, 0x70, 0x00, 0x00], // "trap" is function 0
    ...[0x04, 0x64, 0x65, 0x65, 0x70, 0x00, 0x01], // "deep" is function 1
    ...[0x0a, 0x0a, 0x02], // code: two bodies
    ...[0x03, 0x00, 0x00, 0x0b], // unreachable
    ...[0x04, 0x00, 0x10, 0x01, 0x0b], // call 1
  ),
);

interface Broken {
  trap(): void;
  deep(): void;
}

function live(onTrap?: (trap: WasmTrapped) => void): LiveInstance<Broken> {
  const start = () => new WebAssembly.Instance(module).exports as unknown as Broken;
  return new LiveInstance({ name: 'broken', start, onTrap });
}

test('one instance serves all calls while nothing traps', () => {
  const holder = live();
  expect(holder.generation).toBe(0);
  const first = holder.run((instance) => instance);
  expect(holder.run((instance, generation) => [instance === first, generation])).toEqual([true, 1]);
  expect(holder.traps).toBe(0);
});

test('after a trap the next call gets a fresh instance of another generation', () => {
  const told: WasmTrapped[] = [];
  const holder = live((trap) => told.push(trap));
  const first = holder.run((instance) => instance);
  expect(() => holder.run((instance) => instance.trap())).toThrow(WasmTrapped);
  expect(told).toMatchObject([{ module: 'broken', generation: 1, cause: expect.any(WebAssembly.RuntimeError) }]);
  expect(holder.run((instance, generation) => [instance === first, generation])).toEqual([false, 2]);
  expect(holder.traps).toBe(1);
});

test('a stack that overflows inside the module is a trap', () => {
  const holder = live();
  expect(() => holder.run((instance) => instance.deep())).toThrow(WasmTrapped);
  expect(holder.run((_, generation) => generation)).toBe(2);
});

test('an error of the caller leaves the instance alone', () => {
  const holder = live();
  const refuse = () => {
    throw new RangeError('a cache key has at most 64 bytes');
  };
  expect(() => holder.run(refuse)).toThrow(RangeError);
  expect([holder.generation, holder.traps]).toEqual([1, 0]);
});

test('a trap inside a call inside a call is counted once', () => {
  const holder = live();
  expect(() => holder.run(() => holder.run((instance) => instance.trap()))).toThrow(WasmTrapped);
  expect([holder.generation, holder.traps]).toEqual([1, 1]);
});

test('an instance that traps while it starts is not kept', () => {
  let starts = 0;
  const start = () => {
    starts += 1;
    const instance = new WebAssembly.Instance(module).exports as unknown as Broken;
    if (starts === 1) instance.trap();
    return instance;
  };
  const holder = new LiveInstance({ name: 'broken', start });
  expect(() => holder.run(() => 1)).toThrow(WasmTrapped);
  expect(holder.run((_, generation) => generation)).toBe(2);
});

test('an instance that cannot start for another reason costs no generation that anyone saw', () => {
  const holder = new LiveInstance({
    name: 'broken',
    start: () => {
      throw new RangeError("the cache's entriesMax must be 1 to 65536");
    },
  });
  expect(() => holder.run(() => 1)).toThrow(/entriesMax/);
  expect(holder.traps).toBe(0);
});

test('only what stops WebAssembly in the middle counts as a trap', () => {
  expect(isTrap(new WebAssembly.RuntimeError('unreachable'))).toBe(true);
  expect(isTrap(new WebAssembly.LinkError('import'))).toBe(false);
  expect(isTrap(new RangeError('Invalid typed array length'))).toBe(false);
  expect(isTrap('unreachable')).toBe(false);
});
