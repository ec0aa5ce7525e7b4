import { deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { bodyBytesMax, checkJsonDepth, jsonDepthMax, parseJson, readBody } from './body.ts';

const request = (body: Uint8Array | string | ReadableStream | null, encoding?: string): Request =>
  new Request('http://edge.test/', {
    method: 'POST',
    body: body as BodyInit | null,
    headers: encoding === undefined ? {} : { 'content-encoding': encoding },
    duplex: 'half',
  } as RequestInit);

const failure = async (body: Request): Promise<unknown> =>
  readBody(body).then(
    () => 'read',
    ({ code }) => code,
  );

test.each([
  ['no encoding', undefined, (bytes: Buffer) => bytes],
  ['identity', 'identity', (bytes: Buffer) => bytes],
  ['gzip', 'gzip', gzipSync],
  ['gzip in capitals', 'GZIP', gzipSync],
  ['deflate', 'deflate', deflateSync],
])('a body is read: %s', async (_, encoding, encode) => {
  const text = 'grüße '.repeat(1_000);
  expect(new TextDecoder().decode(await readBody(request(encode(Buffer.from(text)), encoding)))).toBe(text);
});

test('a request without a body has an empty one', async () => {
  expect(await readBody(request(null))).toHaveLength(0);
});

test('the bound itself is read and one byte more is not', async () => {
  expect(await readBody(request(new Uint8Array(bodyBytesMax)))).toHaveLength(bodyBytesMax);
  expect(await failure(request(new Uint8Array(bodyBytesMax + 1)))).toBe('body_too_large');
});

test('a small body that unpacks to more than the bound is refused while it unpacks', async () => {
  const bomb = gzipSync(Buffer.alloc(256 * 1_048_576));
  expect(bomb.byteLength).toBeLessThan(bodyBytesMax);
  const before = process.memoryUsage().arrayBuffers;
  expect(await failure(request(bomb, 'gzip'))).toBe('body_too_large');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1_048_576);
});

test('a body without end is cut at the bound, and its source is told to stop', async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
    cancel: () => {
      cancelled = true;
    },
  });
  expect(await failure(request(endless))).toBe('body_too_large');
  expect(cancelled).toBe(true);
});

test.each([
  ['what is not gzip at all', 'gzip', Buffer.from('plain')],
  ['gzip that is cut off', 'gzip', gzipSync(Buffer.from('x'.repeat(10_000))).subarray(0, 30)],
  ['deflate that is cut off', 'deflate', deflateSync(Buffer.from('x'.repeat(10_000))).subarray(0, 10)],
  [
    'gzip with a broken checksum',
    'gzip',
    Buffer.from(gzipSync('hello').map((byte, at, all) => (at === all.length - 5 ? byte ^ 1 : byte))),
  ],
])('%s is the client’s fault', async (_, encoding, bytes) => {
  expect(await failure(request(bytes, encoding))).toBe('invalid_request');
});

test.each(['br', 'zstd', 'gzip, gzip', 'nonsense'])('the encoding %s is refused by name', async (encoding) => {
  expect(await failure(request('x', encoding))).toBe('unsupported_media_type');
});

test('a body that breaks off is the client’s fault', async () => {
  const broken = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error('connection reset')),
  });
  expect(await failure(request(broken))).toBe('invalid_request');
});

test.each(['', '{', '{"a":1,}', '[1', 'undefined', '\u0000'])('parseJson refuses %j', (text) => {
  expect(() => parseJson(new TextEncoder().encode(text))).toThrow(/not valid JSON/);
});

test('parseJson refuses bytes that are not UTF-8 and takes a byte order mark', () => {
  expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/not valid JSON/);
  expect(parseJson(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).toBe(1);
});

const nested = (depth: number): string => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`;

test('JSON may be nested as deep as the bound and no deeper', () => {
  expect(() => checkJsonDepth(nested(jsonDepthMax))).not.toThrow();
  expect(() => checkJsonDepth(nested(jsonDepthMax + 2))).toThrow(/at most 64 levels/);
  expect(() => parseJson(new TextEncoder().encode(nested(jsonDepthMax + 2)))).toThrow(/at most 64 levels/);
});

test('brackets inside strings are text, also after escaped quotes', () => {
  expect(() => checkJsonDepth(JSON.stringify(['['.repeat(1_000), '"\\"[['.repeat(100)]))).not.toThrow();
});

test('a string of quotes that never ends is looked through once', () => {
  expect(() => checkJsonDepth(`"${'\\"'.repeat(bodyBytesMax / 4)}`)).not.toThrow();
});
