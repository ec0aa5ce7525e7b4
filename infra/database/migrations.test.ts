import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { migrationsDirectory } from './migrate.ts';
import { checksumOf, MigrationConflict, pendingMigrations, readMigrations } from './migrations.ts';

const file = (name: string, text = name) => ({ name, text, checksum: checksumOf(text) });
const [first, second, third] = [file('0001_a.sql'), file('0002_b.sql'), file('0003_c.sql')];

it('applies what is not applied yet, in order', () => {
  expect(pendingMigrations([first, second, third], [])).toEqual([first, second, third]);
  expect(pendingMigrations([first, second, third], [first])).toEqual([second, third]);
  expect(pendingMigrations([first, second], [second, first])).toEqual([]);
});

it.each([
  { why: 'was changed', files: [file('0001_a.sql', 'other')], applied: [first], text: 'was changed after' },
  { why: 'was removed', files: [second], applied: [first], text: 'is not here' },
  { why: 'came too late', files: [first, second], applied: [second], text: 'comes before 0002_b.sql' },
])('refuses a migration that $why', ({ files, applied, text }) => {
  expect(() => pendingMigrations(files, applied)).toThrow(MigrationConflict);
  expect(() => pendingMigrations(files, applied)).toThrow(text);
});

it('takes a file for the same however its lines end', () => {
  expect(checksumOf('a\r\nb\r\n')).toBe(checksumOf('a\nb\n'));
  expect(checksumOf('a\nb')).not.toBe(checksumOf('a\nc'));
});

it("reads the project's own migrations, in order and without gaps", async () => {
  const numbers = (await readMigrations(migrationsDirectory)).map(({ name }) => Number(name.slice(0, 4)));
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  expect(numbers.length).toBeGreaterThan(0);
});

it('refuses a file whose name does not tell its place', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'treeline-migrations-'));
  await writeFile(join(directory, 'late fix.sql'), 'select 1;');
  await expect(readMigrations(directory)).rejects.toThrow('late fix.sql: a migration is named like');
  await rm(directory, { recursive: true });
});
