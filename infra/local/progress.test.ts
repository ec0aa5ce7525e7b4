import { expect, it } from 'vitest';
import { bar, terminalProgress } from './progress.ts';

const mebibyte = 1024 * 1024;

it.each([
  [0, 10, '[------------------------]   0 %  0.0 of 10.0 MiB'],
  [5, 10, '[############------------]  50 %  5.0 of 10.0 MiB'],
  [10, 10, '[########################] 100 %  10.0 of 10.0 MiB'],
  [11, 10, '[########################] 100 %  11.0 of 10.0 MiB'],
  [1, 0, '[------------------------]   0 %  1.0 of 0.0 MiB'],
])('draws %d of %d MiB', (done, total, text) => {
  expect(bar(done * mebibyte, total * mebibyte)).toBe(text);
});

it('writes plain lines where the output is no terminal', () => {
  const written: string[] = [];
  const progress = terminalProgress({ write: (text) => written.push(text) });
  progress.step('Store').done('on port 1');
  progress.step('Edge').fail('no memory');
  progress.note('Ready.');
  expect(written.join('')).toMatch(
    /^✓ Store: on port 1 {2}\(\d+\.\d s\)\n✗ Edge: no memory {2}\(\d+\.\d s\)\nReady\.\n$/,
  );
});

it('replaces its line on a terminal', () => {
  const written: string[] = [];
  const step = terminalProgress({ isTTY: true, write: (text) => written.push(text) }).step('Store');
  step.done();
  expect(written[0]).toBe('  Store …');
  expect(written[1]?.startsWith('\r\u001b[2K✓ Store')).toBe(true);
});
