import { describe, expect, it } from 'vitest';
import { errorReply, integerReply, nil, ok } from './reply.ts';
import { encodeReply, lineBytesMax, ProtocolError, parameterBytesMax, parametersMax, RespReader } from './resp.ts';

const texts = (commands: readonly (readonly Uint8Array[])[]) =>
  commands.map((command) => command.map((part) => Buffer.from(part).toString('latin1')));

describe('reading', () => {
  const wire = Buffer.from(
    '*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\nPING\r\n*1\r\n$0\r\n\r\n*0\r\n\r\n*1\r\n$4\r\nQUIT\r\n',
    'latin1',
  );
  const expected = [['GET', 'a\r\n'], ['PING'], [''], ['QUIT']];

  it('reads commands, in whatever pieces they come', () => {
    for (let size = 1; size <= wire.length; size += 1) {
      const reader = new RespReader();
      const commands = [];
      for (let at = 0; at < wire.length; at += size) commands.push(...reader.push(wire.subarray(at, at + size)));
      expect(texts(commands)).toEqual(expected);
    }
  });

  it.each([
    ['*-1\r\n', 'invalid multibulk length'],
    [`*${parametersMax + 1}\r\n`, 'invalid multibulk length'],
    ['*x\r\n', 'invalid multibulk length'],
    ['*1\r\n:1\r\n', "expected '$', got ':'"],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    [`*1\r\n$${parameterBytesMax + 1}\r\n`, 'invalid bulk length'],
    ['x'.repeat(lineBytesMax + 1), 'too big inline request'],
  ])('refuses %j', (text, reason) => {
    expect(() => new RespReader().push(Buffer.from(text))).toThrow(ProtocolError);
    expect(() => new RespReader().push(Buffer.from(text))).toThrow(reason);
  });

  it('takes the longest line and the most parameters', () => {
    expect(new RespReader().push(Buffer.from(`${'x'.repeat(lineBytesMax)}\r\n`))).toHaveLength(1);
    expect(
      new RespReader().push(Buffer.from(`*${parametersMax}\r\n${'$0\r\n\r\n'.repeat(parametersMax)}`)),
    ).toHaveLength(1);
  });
});

it.each([
  ['a status', ok, '+OK\r\n'],
  ['an error on one line', errorReply('ERR two\r\nlines'), '-ERR two lines\r\n'],
  ['an integer', integerReply(-3n), ':-3\r\n'],
  ['nil', nil, '$-1\r\n'],
  ['bytes', { kind: 'bulk', value: Buffer.from('a\r\n') } as const, '$3\r\na\r\n\r\n'],
  ['a list', { kind: 'array', items: [integerReply(true), nil] } as const, '*2\r\n:1\r\n$-1\r\n'],
])('writes %s', (_, reply, wire) => {
  expect(encodeReply(reply).toString('latin1')).toBe(wire);
});
