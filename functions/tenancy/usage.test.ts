import { expect, test } from 'vitest';
import { ManualClock, MemoryLog, ScriptedSql, type Statement, seededRandom } from '../../tests/support/ports.ts';
import { SqlError, SqlUnavailable } from '../ports.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { UsageLedger, usageBatchMax, usagePauseMs, usageQueueMax, usageWriteMs } from './usage.ts';

const event = { operation: 'embeddings', model: 'm', inputTokens: 4, outputTokens: 0, cacheHit: false, latencyMs: 1.5 };
const caller = (tenantId = 'tenant-1') => ({ tenantId, keyId: null });

/** The rows of a statement, as the database would read them. */
const rowsOf = ({ parameters }: Statement): { id: string }[] => JSON.parse(String(parameters[1]));

function setUp() {
  const clock = new ManualClock();
  const sql = new ScriptedSql();
  const log = new MemoryLog();
  const metrics = createMetrics();
  const ledger = new UsageLedger({ sql, clock, log, metrics, random: seededRandom(11) });
  const counted = async () =>
    Object.fromEntries((await metrics.usageEvents.get()).values.map(({ labels, value }) => [labels.result, value]));
  return { clock, sql, log, ledger, counted };
}

test('events are written as their tenant, in one statement, with an id each', async () => {
  const { ledger, sql, counted } = setUp();
  ledger.record(caller(), event);
  ledger.record({ tenantId: 'tenant-1', keyId: 'key-1' }, event);
  await ledger.flush();
  expect(sql.statements.map(({ tenantId }) => tenantId)).toEqual(['tenant-1']);
  const rows = sql.statements.flatMap(rowsOf);
  expect(rows).toMatchObject([
    { operation: 'embeddings', input_tokens: 4, key_id: null, recorded_at: '2026-11-01T00:00:00.000Z' },
    { key_id: 'key-1' },
  ]);
  expect(new Set(rows.map(({ id }) => id)).size).toBe(2);
  for (const { id } of rows)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect([ledger.backlog, await counted()]).toEqual([0, { stored: 2 }]);
});

test('tenants never share a statement, and a statement has a bound', async () => {
  const { ledger, sql } = setUp();
  for (let count = 0; count < usageBatchMax + 1; count += 1) ledger.record(caller('a'), event);
  ledger.record(caller('b'), event);
  await ledger.flush();
  expect(sql.statements.map((statement) => [statement.tenantId, rowsOf(statement).length])).toEqual([
    ['a', usageBatchMax],
    ['a', 1],
    ['b', 1],
  ]);
});

test('with nothing to write the database is not asked', async () => {
  const { ledger, sql } = setUp();
  await ledger.flush();
  expect(sql.statements).toEqual([]);
});

test('a database that is away is left alone for a while, then gets the same rows with the same ids', async () => {
  const { ledger, sql, clock, log, counted } = setUp();
  sql.answer = () => {
    throw new SqlUnavailable('refused');
  };
  ledger.record(caller(), event);
  await ledger.flush();
  clock.advance(usagePauseMs - 1);
  await ledger.flush();
  expect(sql.statements).toHaveLength(1);
  clock.advance(1);
  sql.answer = () => [];
  await ledger.flush();
  const [first, second] = sql.statements.map(rowsOf);
  expect(second).toEqual(first);
  expect([ledger.backlog, await counted()]).toEqual([0, { retried: 1, stored: 1 }]);
  expect(log.lines.map(({ level }) => level)).toEqual(['warn']);
});

test('a repeated row is not counted twice: the statement leaves it alone', async () => {
  const { ledger, sql } = setUp();
  ledger.record(caller(), event);
  await ledger.flush();
  expect(sql.statements[0]?.text).toMatch(/on conflict do nothing\s*$/);
});

test('what the database refuses is dropped, counted and logged, and does not hold up the next tenant', async () => {
  const { ledger, sql, log, counted } = setUp();
  sql.answer = ({ tenantId }) => {
    if (tenantId === 'gone') throw new SqlError('violates foreign key constraint', '23503');
    return [];
  };
  ledger.record(caller('gone'), event);
  ledger.record(caller('here'), event);
  await ledger.flush();
  expect([ledger.backlog, await counted()]).toEqual([0, { dropped: 1, stored: 1 }]);
  expect(log.lines).toMatchObject([{ level: 'error', fields: { count: 1, refusal: '23503' } }]);
});

test('the queue is bounded, and what finds it full is counted and logged', async () => {
  const { ledger, log, counted } = setUp();
  for (let count = 0; count < usageQueueMax; count += 1) ledger.record(caller(), event);
  expect([ledger.backlog, log.lines.length]).toEqual([usageQueueMax, 0]);
  ledger.record(caller(), event);
  expect([ledger.backlog, log.lines.length]).toEqual([usageQueueMax, 1]);
  expect(await counted()).toEqual({ dropped: 1 });
});

test('one writer at a time: what comes meanwhile is written by the same one', async () => {
  const { ledger, sql } = setUp();
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  sql.answer = () => gate.then(() => []);
  ledger.record(caller(), event);
  const writer = ledger.flush();
  ledger.record(caller(), event);
  await ledger.flush();
  expect(sql.statements).toHaveLength(1);
  release();
  await writer;
  expect(sql.statements.map((statement) => rowsOf(statement).length)).toEqual([1, 1]);
});

test('a writer that the host ended in the middle holds the queue for a bounded time only', async () => {
  const { ledger, sql, clock } = setUp();
  sql.answer = () => new Promise(() => {});
  ledger.record(caller(), event);
  void ledger.flush();
  sql.answer = () => [];
  await ledger.flush();
  expect(ledger.backlog).toBe(1);
  clock.advance(usageWriteMs);
  await ledger.flush();
  expect(ledger.backlog).toBe(0);
});
