/** What the shared store must do behind Upstash's REST protocol, whatever Redis it is; by clients made by others. */
import { Redis as Upstash } from '@upstash/redis';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createUpstashStore } from '../../functions/platforms/redis-upstash.ts';

/** One store under test, reachable both ways. */
export interface RunningStore {
  readonly restUrl: string;
  readonly token: string;
  /** Redis' own protocol, of the same data. */
  readonly redisUrl: string;
  close(): Promise<void>;
}

/** Declares the tests for the store that `start` starts. */
export function storeSuite(name: string, start: () => Promise<RunningStore>): void {
  describe(name, () => {
    let running: RunningStore;
    let upstash: Upstash;
    let redis: Redis;

    beforeAll(async () => {
      running = await start();
      upstash = new Upstash({ url: running.restUrl, token: running.token, enableTelemetry: false, retry: false });
      redis = new Redis(running.redisUrl, { maxRetriesPerRequest: 1 });
    });
    afterAll(async () => {
      redis.disconnect();
      await running.close();
    });
    beforeEach(() => redis.flushall());

    it('keeps texts for the port, until they expire or are removed', async () => {
      const store = createUpstashStore({ url: running.restUrl, token: running.token });
      await store.ping();
      expect(await store.get('absent')).toBeNull();
      await store.set('key', 'äß \u{1f332} "12"', 60);
      expect(await store.get('key')).toBe('äß \u{1f332} "12"');
      expect(await redis.pttl('key')).toBeGreaterThan(50_000);
      expect(await store.delete(['key', 'absent'])).toBe(1);
      expect(await store.delete([])).toBe(0);
      expect(await store.get('key')).toBeNull();
    });

    it('gives a text back as a text, even where it looks like something else', async () => {
      const store = createUpstashStore({ url: running.restUrl, token: running.token });
      for (const text of ['12', 'true', 'null', '{"a":1}', 'OK', '']) {
        await store.set('looks', text, 60);
        expect(await store.get('looks')).toBe(text);
      }
    });

    it('sets under conditions, with a time to live', async () => {
      expect(await redis.set('a', '1', 'NX')).toBe('OK');
      expect(await redis.set('a', '2', 'NX')).toBeNull();
      expect(await redis.set('b', '2', 'XX')).toBeNull();
      expect(await redis.set('a', '3', 'XX', 'GET')).toBe('1');
      expect(await redis.set('a', '4', 'PX', 40)).toBe('OK');
      expect(await redis.set('a', '5', 'KEEPTTL')).toBe('OK');
      await expect.poll(() => redis.get('a'), { interval: 10 }).toBeNull();
      await expect(redis.call('SET', 'a', '1', 'EX', '0')).rejects.toThrow('invalid expire time');
      await expect(redis.call('SET', 'a', '1', 'EX', 'x')).rejects.toThrow('not an integer');
      await expect(redis.call('SET', 'a', '1', 'NX', 'XX')).rejects.toThrow('syntax error');
      await expect(redis.call('SET', 'a')).rejects.toThrow('wrong number of arguments');
    });

    it('counts, and refuses to count what is no number', async () => {
      expect(await redis.incr('n')).toBe(1);
      expect(await redis.incrby('n', 41)).toBe(42);
      expect(await redis.decrby('n', 50)).toBe(-8);
      await redis.set('n', '9223372036854775807');
      await expect(redis.incr('n')).rejects.toThrow('overflow');
      await redis.set('n', 'ten');
      await expect(redis.incr('n')).rejects.toThrow('not an integer');
      await redis.set('n', '1', 'EX', 100);
      await redis.incr('n');
      expect(await redis.ttl('n')).toBeGreaterThan(90);
    });

    it('answers as Redis does about keys and their time', async () => {
      await redis.set('a', '1');
      await redis.set('b', '2', 'EX', 100);
      expect(await redis.exists('a', 'b', 'a', 'c')).toBe(3);
      expect(await redis.mget('a', 'c', 'b')).toEqual(['1', null, '2']);
      expect(await redis.ttl('a')).toBe(-1);
      expect(await redis.ttl('c')).toBe(-2);
      expect(await redis.expire('a', 10)).toBe(1);
      expect(await redis.expire('c', 10)).toBe(0);
      expect(await redis.ttl('a')).toBe(10);
      expect(await redis.persist('a')).toBe(1);
      expect(await redis.persist('a')).toBe(0);
      expect(await redis.pexpire('b', -1)).toBe(1);
      expect(await redis.dbsize()).toBe(1);
      expect(await redis.type('a')).toBe('string');
      expect(await redis.strlen('a')).toBe(1);
      expect(await redis.unlink('a', 'b')).toBe(1);
    });

    it('keeps bytes as they are', async () => {
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
      const key = Buffer.from([0, 13, 10, 255]);
      await redis.set(key, bytes);
      expect(await redis.getBuffer(key)).toEqual(bytes);
    });

    it('runs pipelines and transactions, over both protocols', async () => {
      const pipeline = await upstash.pipeline().set('p', 1).incr('p').get('p').get('none').exec();
      expect(pipeline).toEqual(['OK', 2, 2, null]);
      const together = await upstash.multi().set('t', 'one').get('t').exists('t').exec();
      expect(together).toEqual(['OK', 'one', 1]);
      expect(await redis.multi().set('r', '1').incr('r').exec()).toEqual([
        [null, 'OK'],
        [null, 2],
      ]);
      expect(await redis.pipeline().get('r').get('none').exec()).toEqual([
        [null, '2'],
        [null, null],
      ]);
    });

    it('tells which command of a pipeline failed, and runs the others', async () => {
      await redis.set('word', 'ten');
      const response = await fetch(`${running.restUrl}/pipeline`, {
        method: 'POST',
        headers: { authorization: `Bearer ${running.token}` },
        body: JSON.stringify([
          ['SET', 'x', '1'],
          ['INCR', 'word'],
          ['GET', 'x'],
        ]),
      });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual([
        { result: 'OK' },
        { error: expect.stringContaining('not an integer') },
        { result: '1' },
      ]);
    });

    it('answers Upstash in base64 where it asks, and takes commands in the path', async () => {
      const headers = { authorization: `Bearer ${running.token}`, 'upstash-encoding': 'base64' };
      const command = JSON.stringify(['SET', 'k', 'väl']);
      const set = await fetch(running.restUrl, { method: 'POST', headers, body: command });
      expect(await set.json()).toEqual({ result: 'OK' });
      const got = await fetch(`${running.restUrl}/get/k`, { headers });
      expect(await got.json()).toEqual({ result: Buffer.from('väl').toString('base64') });
      const put = await fetch(`${running.restUrl}/set/k%2Fey?EX=10&_token=${running.token}`, {
        method: 'POST',
        body: 'v',
      });
      expect(await put.json()).toEqual({ result: 'OK' });
      expect(await redis.get('k/ey')).toBe('v');
    });

    it('refuses whoever lacks the token, and what is no command', async () => {
      const wrong = createUpstashStore({ url: running.restUrl, token: 'wrong-token' });
      await expect(wrong.ping()).rejects.toMatchObject({ name: 'SharedStoreUnavailable' });
      await expect(wrong.ping()).rejects.not.toThrow('wrong-token');
      expect((await fetch(`${running.restUrl}/ping`)).status).toBe(401);
      const headers = { authorization: `Bearer ${running.token}` };
      for (const body of ['', '{', '{}', '[]', '"GET"', '[[]]']) {
        const { status } = await fetch(running.restUrl, { method: 'POST', headers, body });
        expect({ body, status }).toEqual({ body, status: 400 });
      }
    });

    it('serves many at once', async () => {
      await Promise.all(Array.from({ length: 200 }, () => upstash.incr('many')));
      expect(await upstash.get('many')).toBe(200);
    });
  });
}
