import { describe, expect, it } from 'vitest';
import { poolFlags } from '../local/pool-part.ts';
import { BuildReader } from './build.ts';
import { isAtLeast, majorAndMinor } from './toolchains.ts';

describe('the build', () => {
  it('is told in a few words, crate by crate, and says nothing for the rest', () => {
    const reader = new BuildReader(372);
    expect(
      [
        '   Compiling zerocopy v0.8.27',
        'warning: unused variable',
        '   Compiling candle-core v0.11.0',
        '  Downloaded serde v1.0.228',
        'go: downloading connectrpc.com/connect v1.21.1',
        '    Finished `release` profile [optimized] target(s) in 9m 12s',
        '',
      ].map((line) => reader.read(line)),
    ).toEqual([
      'Rust: zerocopy (1 of about 372)',
      null,
      'Rust: candle-core (2 of about 372)',
      'Rust: Downloaded serde v1.0.228',
      'Go: downloading connectrpc.com/connect v1.21.1',
      null,
      null,
    ]);
  });

  it.each([
    ['go1.26.8', '1.26.0', true],
    ['go1.26', '1.26.0', true],
    ['go1.25.9', '1.26.0', false],
    ['go2.0', '1.26.0', true],
    ['cargo 1.95.0 (f2d3ce0bd 2026-03-21)', '1.95', true],
    ['cargo 1.63.0', '1.95', false],
    ['unknown', '1.95', false],
  ])('%s against %s: %s', (found, wanted, expected) => {
    expect(isAtLeast(found, wanted)).toBe(expected);
  });

  it('reads a version wherever it stands', () => {
    expect(majorAndMinor('go version go1.26.8 linux/amd64')).toEqual([1, 26]);
    expect(majorAndMinor('none')).toBeNull();
  });
});

describe('a node’s flags', () => {
  it('listen on loopback alone, and name the directory and the queue only where there are some', () => {
    const alone = poolFlags({ port: 8089, directory: '.treeline' });
    expect(alone.slice(0, 2)).toEqual(['--listen', '127.0.0.1:8089']);
    expect(alone).not.toContain('--etcd');
    const [etcdUrl, natsUrl] = ['http://127.0.0.1:2379', 'nats://127.0.0.1:4222'];
    const registered = poolFlags({ port: 8089, directory: '.treeline', etcdUrl, natsUrl, flags: ['--threads', '1'] });
    expect(registered.slice(-6)).toEqual(['--etcd', etcdUrl, '--nats', natsUrl, '--threads', '1']);
  });
});
