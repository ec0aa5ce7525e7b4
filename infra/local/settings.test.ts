import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { checkSettings } from './settings.ts';
import { passedOn } from './stack.ts';

it.each([
  [{ DATABASE_URL: 'mysql://user:secret@host/x' }, 'DATABASE_URL must look like postgres://'],
  [{ REDIS_URL: 'secret' }, 'REDIS_URL must look like redis://'],
  [{ UPSTASH_REDIS_REST_URL: 'https://store.example' }, 'go together'],
  [{ UPSTREAM_BASE_URL: 'http://secret.example' }, 'UPSTREAM_BASE_URL'],
])('names what is wrong in %j, without its value', (environment, text) => {
  expect(() => checkSettings(environment)).toThrow(text);
  expect(() => checkSettings(environment)).not.toThrow(/secret/);
});

it('is content with nothing, and with empty values', () => {
  checkSettings({});
  checkSettings({ DATABASE_URL: '', REDIS_URL: '', UPSTASH_REDIS_REST_URL: '', UPSTASH_REDIS_REST_TOKEN: '' });
});

it('has an example of every variable that is passed on to the edge', async () => {
  const example = await readFile(new URL('../../.env.example', import.meta.url), 'utf8');
  const named = new Set(example.split('\n').map((line) => line.split('=')[0]));
  expect(passedOn.filter((name) => !named.has(name))).toEqual([]);
});
