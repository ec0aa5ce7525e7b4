import { expect, it } from 'vitest';
import { parseStart, startHelp, UsageError } from './command-line.ts';

it('starts the edge in workerd on port 8787 where nobody says otherwise', () => {
  const expected = {
    help: false,
    host: 'workers',
    port: 8787,
    models: true,
    detach: false,
    seed: null,
    embeddedStore: false,
    pool: true,
  };
  expect(parseStart([], {})).toEqual(expected);
  expect(parseStart([], { PORT: '', EDGE_HOST: '', SEED: '', EMBEDDED_STORE: '', POOL: '', CI: '' })).toEqual(expected);
});

it('takes a flag before a variable, and a variable before the default', () => {
  expect(parseStart(['--port', '9000'], { PORT: '9001' }).port).toBe(9000);
  expect(parseStart([], { PORT: '9001' }).port).toBe(9001);
  expect(parseStart([], { EDGE_HOST: 'supabase' })).toMatchObject({ host: 'supabase', port: 54321 });
  expect(parseStart(['--host', 'workers'], { EDGE_HOST: 'supabase' }).host).toBe('workers');
  expect(parseStart(['--seed', 'one.sql'], { SEED: 'other.sql' }).seed).toBe('one.sql');
  expect(parseStart([], { SEED: 'other.sql' }).seed).toBe('other.sql');
  expect(parseStart(['--embedded-store'], { EMBEDDED_STORE: '0' }).embeddedStore).toBe(true);
  expect(parseStart([], { EMBEDDED_STORE: '1' }).embeddedStore).toBe(true);
});

it('leaves the pool out where it is told to, and on CI', () => {
  expect(parseStart(['--no-pool'], { POOL: '1' }).pool).toBe(false);
  expect(parseStart([], { POOL: '0' }).pool).toBe(false);
  expect(parseStart([], { CI: 'true' }).pool).toBe(false);
  expect(parseStart([], { CI: 'true', POOL: '1' }).pool).toBe(true);
  expect(parseStart([], { CI: 'false' }).pool).toBe(true);
});

it('refuses a switch that is neither on nor off', () => {
  expect(() => parseStart([], { EMBEDDED_STORE: 'yes' })).toThrow('EMBEDDED_STORE is 1 or 0, not "yes".');
});

it.each([
  [['--port', '0'], 'A port is a number from 1 to 65535, not "0".'],
  [['--port', '65536'], 'A port is a number from 1 to 65535, not "65536".'],
  [['--port', '80a'], 'A port is a number from 1 to 65535, not "80a".'],
  [['--host', 'vercel'], 'The host is workers or supabase, not "vercel".'],
  [['--prot', '1'], "Unknown option '--prot'"],
  [['extra'], "Unexpected argument 'extra'"],
])('refuses %j', (parameters, text) => {
  expect(() => parseStart(parameters, {})).toThrow(UsageError);
  expect(() => parseStart(parameters, {})).toThrow(text);
});

it('names every flag in its help', () => {
  const help = startHelp('start', 'Starts.');
  const flags = ['--port', '--host', '--no-models', '--seed', '--embedded-store', '--no-pool', '--detach', '--help'];
  for (const flag of flags) expect(help).toContain(flag);
});
