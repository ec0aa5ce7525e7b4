import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBucketStore } from './objects-supabase.ts';

describe('weights in Supabase Storage', () => {
  let server: Server;
  let url: string;
  const asked: { url: string | undefined; authorization: string | undefined }[] = [];

  beforeAll(async () => {
    // Speaks Storage's own protocol for one object; the client is the real one.
    server = createServer((request, response) => {
      asked.push({ url: request.url, authorization: request.headers.authorization });
      if (request.url === '/storage/v1/object/weights/models/small.tlm') {
        response.writeHead(200, { 'content-type': 'application/octet-stream' });
        response.write('first ');
        setTimeout(() => response.end('second'), 20);
      } else if (request.url === '/storage/v1/object/weights/models/broken.tlm') {
        response.writeHead(500).end('{"statusCode":"500","error":"Internal","message":"broken"}');
      } else {
        response.writeHead(400).end('{"statusCode":"404","error":"not_found","message":"Object not found"}');
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => {
    server.close();
  });

  const store = () => createBucketStore({ url, key: 'service-key', modelBucket: 'weights' }, 'weights');

  it('come as a stream, fetched with the project’s key', async () => {
    const stream = await store().open('models/small.tlm');
    expect(await new Response(stream).text()).toBe('first second');
    expect(asked.at(-1)?.authorization).toBe('Bearer service-key');
  });

  it('that are not there are null', async () => {
    expect(await store().open('models/absent.tlm')).toBeNull();
  });

  it('that cannot be read are an error, not an absence', async () => {
    await expect(store().open('models/broken.tlm')).rejects.toThrow();
  });
});
