/** Searches as rows of a real PostgreSQL: one driver at a time, logs without gaps, and tenants apart. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createSqlSearches, leaseMs, takeUpPauseMs } from '../../functions/platforms/sql-searches.ts';
import { createSql } from '../../functions/platforms/sql-select.ts';
import type { ClosableSql } from '../../functions/platforms/sql-tcp.ts';
import {
  type SearchDriver,
  type SearchJournal,
  SearchJournalLost,
  type SearchKey,
  searchEntriesEachMax,
} from '../../functions/ports.ts';
import { ManualClock, MemoryBackground, MemoryLog } from '../support/ports.ts';
import { alder, birch, startDatabase, type TestDatabase } from './databases.ts';

let database: TestDatabase;
let sql: ClosableSql;
beforeAll(async () => {
  database = await startDatabase();
  sql = createSql({ databaseUrl: database.url, perCall: false, connectTimeoutMs: 20_000 });
});
afterAll(async () => {
  await sql?.close();
  await database?.remove();
});

const newKey = (): SearchKey => ({ tenantId: alder.id, id: crypto.randomUUID() });

/** An isolate of its own: its port, and what it does in the background. */
function isolate(drive: SearchDriver) {
  const [clock, background] = [new ManualClock(), new MemoryBackground()];
  const searches = createSqlSearches({ sql, clock, log: new MemoryLog() });
  searches.drivenBy(drive);
  return { searches, background, clock };
}

const idle: SearchDriver = async () => {};
/** The lease of everyone who vanished is over. */
const lapse = () =>
  sql.asTenant(alder.id, (transaction) =>
    transaction.query(`update treeline.searches set leased_until = now() - interval '1 ms'`),
  );

test('entries are added in order, by one writer at a time, and read page by page', async () => {
  const { searches } = isolate(idle);
  const key = newKey();
  await searches.create(key, ['"0"', '"1"'], true);
  const journal = searches.journal(key);
  const tried = await Promise.all(Array.from({ length: 8 }, (_, at) => journal.append(2, [`"by ${at}"`], true)));
  expect(tried.filter((isAdded) => isAdded)).toHaveLength(1);
  const many = Array.from({ length: searchEntriesEachMax }, (_, at) => String(at));
  expect(await journal.append(3, many, false)).toBe(true);
  expect(await journal.read(0, 0)).toHaveLength(searchEntriesEachMax);
  expect(await journal.read(searchEntriesEachMax, 0)).toEqual(['97', '98', '99']);
  expect(await journal.read(1_000, 0)).toEqual([]);
});

test('characters that jsonb does not take are kept', async () => {
  const { searches } = isolate(idle);
  const key = newKey();
  const entry = JSON.stringify({ text: '\u0000 \ud800 😀' });
  await searches.create(key, [entry], false);
  expect(await searches.journal(key).read(0, 0)).toEqual([entry]);
});

test('another tenant finds nothing, and adds nothing', async () => {
  const { searches } = isolate(idle);
  const key = newKey();
  await searches.create(key, ['"0"'], true);
  const foreign = searches.journal({ ...key, tenantId: birch.id });
  expect(await foreign.read(0, 0)).toBe(null);
  expect(await foreign.append(1, ['"1"'], true)).toBe(false);
  expect(await searches.journal(newKey()).read(0, 0)).toBe(null);
});

test('whoever waits for an entry gets it when it comes', async () => {
  const { searches } = isolate(idle);
  const other = isolate(idle).searches;
  const key = newKey();
  await searches.create(key, ['"0"'], true);
  const waiting = searches.journal(key).read(1, 10_000);
  await other.journal(key).append(1, ['"1"'], true);
  expect(await waiting).toEqual(['"1"']);
});

test('of many that wake a search one drives it', async () => {
  let drivers = 0;
  const until = Promise.withResolvers<void>();
  const drive: SearchDriver = async () => {
    drivers += 1;
    await until.promise;
  };
  const isolates = Array.from({ length: 4 }, () => isolate(drive));
  const key = newKey();
  await isolates[0]?.searches.create(key, ['"0"'], true);
  for (const { searches, background } of isolates) await searches.wake(key, background);
  await new Promise((resolve) => setTimeout(resolve, 500));
  until.resolve();
  await Promise.all(isolates.map(({ background }) => background.settle()));
  expect(drivers).toBe(1);
});

test('a driver that vanished is passed over, and cannot write any more when it comes back', async () => {
  let lost: SearchJournal | null = null;
  const vanishing = isolate((_, journal) => {
    lost = journal;
    return new Promise(() => {});
  });
  const key = newKey();
  await vanishing.searches.create(key, ['"0"'], true);
  await vanishing.searches.wake(key, vanishing.background);
  while (lost === null) await new Promise((resolve) => setTimeout(resolve, 10));

  const seen: string[] = [];
  const next = isolate(async ({ id }, journal) => {
    seen.push(id);
    await journal.append(1, ['"1"'], false);
  });
  next.searches.takeUp(alder.id, next.background);
  await next.background.settle();
  expect(seen).not.toContain(key.id);
  await lapse();
  next.searches.takeUp(alder.id, next.background);
  await next.background.settle();
  // It has looked just now.
  expect(seen).not.toContain(key.id);
  next.clock.advance(takeUpPauseMs);
  next.searches.takeUp(alder.id, next.background);
  await next.background.settle();
  expect(seen).toContain(key.id);

  const returned = lost as SearchJournal;
  await expect(returned.append(2, ['"late"'], true)).rejects.toThrow(SearchJournalLost);
  expect(await next.searches.journal(key).read(0, 0)).toEqual(['"0"', '"1"']);
  expect(leaseMs).toBeGreaterThan(takeUpPauseMs);
});
