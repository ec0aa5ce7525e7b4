/** Experiments over real PostgreSQL: several isolates on one database, isolates that die, and a database that goes away. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { startAnalytics } from '../../functions/analytics/analytics-module.ts';
import { definitionSchema } from '../../functions/analytics/definition.ts';
import { type Decision, Experiments } from '../../functions/analytics/experiments.ts';
import { eventsPerSnapshot, renewAfterMs } from '../../functions/analytics/live-experiments.ts';
import { createSql } from '../../functions/platforms/sql-select.ts';
import type { ClosableSql } from '../../functions/platforms/sql-tcp.ts';
import type { Sql } from '../../functions/ports.ts';
import { createMetrics } from '../../functions/telemetry/metrics.ts';
import { LiveInstance } from '../../functions/wasm/instance.ts';
import { ManualClock, MemoryBackground, MemoryLog, seededRandom } from '../support/ports.ts';
import { repositoryFile } from '../wasm/modules.ts';
import { alder, birch, startDatabase, type TestDatabase } from './databases.ts';

let database: TestDatabase;
let sql: ClosableSql;
let clock: ManualClock;
let live: LiveInstance<ReturnType<typeof startAnalytics>>;
let seed = 1;

beforeAll(async () => {
  database = await startDatabase();
  const module = new WebAssembly.Module(repositoryFile('wasm-rust/pkg/analytics/treeline_analytics_bg.wasm'));
  live = new LiveInstance({ name: 'analytics', start: () => startAnalytics(module) });
});
afterAll(() => database.remove());
beforeEach(() => {
  sql = createSql({ databaseUrl: database.url, perCall: false });
  clock = new ManualClock();
});
afterEach(() => sql.close());

/** The database as a slow network shows it: nothing reaches it until `open` is called. */
function behindDoor(): { sql: Sql; shut(): void; open(): void } {
  let opened: Promise<void> = Promise.resolve();
  let open: () => void = () => {};
  return {
    sql: {
      asTenant: async (tenantId, work) => opened.then(() => sql.asTenant(tenantId, work)),
      query: async (text, parameters) => opened.then(() => sql.query(text, parameters)),
    },
    shut: () => {
      opened = new Promise((resolve) => {
        open = resolve;
      });
    },
    open: () => open(),
  };
}

/** An isolate's experiments: memory of its own, on the one database. */
function isolate(reached: Sql = sql) {
  seed += 1;
  const background = new MemoryBackground();
  const log = new MemoryLog();
  const metrics = createMetrics();
  const ports = { sql: reached, clock, random: seededRandom(seed), log, metrics, module: async () => live };
  const experiments = new Experiments(ports);
  const decide = (name: string, task = ''): Promise<Decision> =>
    experiments.decide(alder.id, name, { task, features: [], durable: false }, background);
  const feedback = (id: string, reward: number) => experiments.feedback(alder.id, id, { reward }, background);
  return { experiments, background, log, decide, feedback };
}

/** Begins an experiment of two arms, and gives its name. */
async function begin({ experiments }: ReturnType<typeof isolate>, more: object = {}): Promise<string> {
  const name = `e${crypto.randomUUID().slice(0, 8)}`;
  const arms = ['good', 'poor'].map((arm) => ({ name: arm, settings: { model: arm } }));
  const { arms: parsed, ...definition } = definitionSchema.parse({ name, arms, seed: 3, ...more });
  await experiments.create(alder.id, definition, parsed);
  return name;
}

async function query<Row extends pg.QueryResultRow>(text: string, parameters: unknown[] = []): Promise<Row[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<Row>(text, parameters)).rows;
  } finally {
    await client.end();
  }
}

const report = async ({ experiments }: ReturnType<typeof isolate>, name: string) =>
  (await experiments.analyse(alder.id, name, 0.05)).report;

test('once an experiment is held, a decision asks nobody, and is stored when the database is back', async () => {
  const one = isolate();
  const name = await begin(one);
  await one.decide(name);
  await one.background.settle();
  await database.stop();
  const made: Decision[] = [];
  for (let at = 0; at < 20; at += 1) made.push(await one.decide(name));
  await one.background.settle();
  expect(new Set(made.map(({ id }) => id)).size).toBe(20);
  expect(one.log.lines.map(({ message }) => message)).toContain(
    'experiment events wait: the database did not take them',
  );
  await database.start();
  clock.advance(60_000);
  await one.decide(name);
  await one.background.settle();
  const [row] = await query<{ count: number }>(
    'select count(*)::int as count from treeline.experiment_events where decision_id is not null',
  );
  expect(row?.count).toBe(22);
});

test('isolates agree, whoever decided and whoever heard the feedback', async () => {
  const [one, other] = [isolate(), isolate()];
  const name = await begin(one);
  for (let at = 0; at < 60; at += 1) {
    const [left, right] = [await one.decide(name, 'a'), await other.decide(name, 'b')];
    await one.feedback(right.id, right.arm === 'good' ? 1 : 0);
    await other.feedback(left.id, left.arm === 'good' ? 1 : 0);
    clock.advance(100);
    if (at % 10 === 0) await Promise.all([one.background.settle(), other.background.settle()]);
  }
  await Promise.all([one.background.settle(), other.background.settle()]);
  const seen = await report(one, name);
  expect(await report(other, name)).toEqual(seen);
  expect(await report(isolate(), name)).toEqual(seen);
  expect(seen).toMatchObject({ open: 0, namespaces: [{ namespace: 'a', best: 'good' }, { namespace: 'b' }] });
});

test('an isolate learns of the others’ feedback, arms and end behind its decisions', async () => {
  const [one, other] = [isolate(), isolate()];
  const name = await begin(one);
  await one.decide(name);
  await one.background.settle();
  await other.experiments.withdrawArm(alder.id, name, 'poor');
  clock.advance(renewAfterMs);
  await one.decide(name);
  await one.background.settle();
  expect(await one.decide(name)).toMatchObject({ arm: 'good', propensity: 1 });
  await other.experiments.end(alder.id, name);
  clock.advance(renewAfterMs);
  await one.decide(name);
  await one.background.settle();
  await expect(one.decide(name)).rejects.toMatchObject({ code: 'experiment_ended' });
});

test('feedback that was acknowledged outlives the isolate that took it, as do stored decisions', async () => {
  const [doomed, heir] = [isolate(), isolate()];
  const name = await begin(doomed);
  const stored = await doomed.decide(name);
  await doomed.background.settle();
  await doomed.feedback(stored.id, 1);
  // It dies here, with whatever it had still to do.
  expect(await report(heir, name)).toMatchObject({ open: 0, namespaces: [{ arms: expect.anything() }] });
  const again = await heir.feedback(stored.id, 0);
  expect(again).toMatchObject({ recorded: [], known: ['reward'], isLate: false });
});

test('feedback may come before the isolate that decided has stored the decision', async () => {
  const door = behindDoor();
  const [one, other] = [isolate(door.sql), isolate()];
  const name = await begin(one);
  await one.decide(name);
  await one.background.settle();
  door.shut();
  const decision = await one.decide(name);
  expect(await other.feedback(decision.id, 1)).toMatchObject({ recorded: ['reward'], decidedAtMs: null });
  door.open();
  await one.background.settle();
  expect(await report(other, name)).toMatchObject({ open: 1 });
});

test('the state is kept, so that a new isolate reads a snapshot and what came after', async () => {
  const one = isolate();
  const name = await begin(one);
  for (let at = 0; at < eventsPerSnapshot + 50; at += 1) await one.decide(name);
  await one.background.settle();
  clock.advance(renewAfterMs);
  await one.decide(name);
  await one.background.settle();
  const kept =
    'select snapshot is not null as kept, snapshot_watermark::text as at from treeline.experiments where name = $1';
  const [row] = await query<{ kept: boolean; at: string }>(kept, [name]);
  expect(row?.kept).toBe(true);
  const last = await one.decide(name);
  await one.background.settle();
  await one.feedback(last.id, 1);
  expect(await report(isolate(), name)).toEqual(await report(one, name));
  // A damaged one is passed over: the events are the truth.
  const seen = await report(one, name);
  await query("update treeline.experiments set snapshot = 'broken' where name = $1", [name]);
  const heir = isolate();
  expect(await report(heir, name)).toEqual(seen);
  expect(heir.log.lines[0]?.message).toContain('a snapshot of an experiment was refused');
}, 60_000);

test('a module that traps costs one call; the experiment is read again at the next', async () => {
  const one = isolate();
  const name = await begin(one);
  await one.decide(name);
  await one.background.settle();
  const before = await report(one, name);
  expect(() =>
    live.run(() => {
      throw new WebAssembly.RuntimeError('unreachable');
    }),
  ).toThrow('trapped');
  // Touched, the module starts anew.
  live.run(() => {});
  expect(await report(one, name)).toEqual(before);
});

test('another tenant finds neither the experiment nor the decision', async () => {
  const one = isolate();
  const name = await begin(one);
  const { id } = await one.decide(name);
  await one.background.settle();
  const { experiments, background } = one;
  await expect(experiments.describe(birch.id, name)).rejects.toMatchObject({ code: 'experiment_not_found' });
  const foreign = experiments.feedback(birch.id, id, { reward: 1 }, background);
  await expect(foreign).rejects.toMatchObject({ code: 'experiment_not_found' });
  expect((await experiments.list(birch.id)).map((experiment) => experiment.name)).not.toContain(name);
});

test('a guard rail takes a slow arm out, and the fallback is served', async () => {
  const one = isolate();
  const name = await begin(one, {
    rewards: [{ name: 'reward' }, { name: 'latency', source: 'latency_ms', worst: 10_000, best: 0, weight: 0 }],
    rails: [{ reward: 'latency', quantile: 0.95, limit: 2_000, trials: 50 }],
    fallback: 'good',
    floor: 0.5,
  });
  for (let at = 0; at < 200; at += 1) {
    const decision = await one.decide(name);
    const latencyMs = decision.arm === 'poor' ? 3_000 : 500;
    await one.experiments.measure(decision, {
      model: 'm',
      latencyMs,
      inputTokens: null,
      outputTokens: null,
      scores: {},
    });
    await one.feedback(decision.id, 1);
  }
  await one.background.settle();
  const [, poor] = ((await report(one, name)) as { namespaces: [{ arms: { excluded: boolean }[] }] }).namespaces[0]
    .arms;
  expect(poor).toMatchObject({ arm: 'poor', excluded: true, probability: 0 });
  expect(await one.decide(name)).toMatchObject({ arm: 'good', propensity: 1 });
});
