/** An edge that is killed in the middle of a search, again and again: the search goes on, and pays for nothing twice. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EdgeHost, type EdgePart, startEdge } from '../../infra/local/edge-part.ts';
import { freePort } from '../../infra/local/ports.ts';
import { type Stack, startStack } from '../../infra/local/stack.ts';
import { EdgeClient } from '../contract/edge.ts';
import { seededRandom } from '../support/ports.ts';
import { type SearchUpstream, searchModels, startSearchUpstream } from '../support/search-upstream.ts';

/** Kills of one search; `TREELINE_KILLS` asks for more. */
const kills = Number(process.env.TREELINE_KILLS ?? 2);
const seed = Number(process.env.TREELINE_SEED ?? 20_261_125);
const trials = 20 * kills;

interface Trial {
  readonly parent: number;
  readonly arm: number;
  readonly answer: string;
  readonly score: number;
}

describe.each<EdgeHost>(['workers', 'supabase'])('killed searches through %s', (host) => {
  let upstream: SearchUpstream;
  let directory: string;
  let stack: Stack;
  let edge: EdgePart;

  const start = async () =>
    startEdge({
      host,
      port: await freePort(),
      directory,
      variables: {
        DATABASE_URL: stack.databaseUrl,
        UPSTREAM_BASE_URL: upstream.url,
        UPSTREAM_MODELS: searchModels.join(','),
      },
      onLine: () => undefined,
    });
  const kill = async () => {
    // wrangler and workerd are one group of processes.
    if (edge.pid !== null) process.kill(-edge.pid, 'SIGKILL');
    await edge.stop();
  };

  beforeAll(async () => {
    upstream = await startSearchUpstream();
    directory = await mkdtemp(join(tmpdir(), 'treeline-killed-'));
    stack = await startStack({
      host: 'supabase',
      port: await freePort(),
      directory: join(directory, 'stack'),
      models: false,
    });
    edge = await start();
  });
  afterAll(async () => {
    await edge?.stop();
    await stack?.stop();
    await upstream?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const client = () => new EdgeClient(edge.url, stack.key);
  const begin = async (): Promise<string> => {
    const arms = [{ model: 'counter' }, { model: 'other-counter' }];
    const scorer = { type: 'numeric', expected: 1_000, scale: 1_000 };
    const messages = [{ role: 'user', content: 'Count.' }];
    const body = { messages, arms, scorer, budget: { trials }, concurrency: 1, algorithm: 'abmcts-a', seed: 7 };
    const { status, body: shown } = await client().json('/v1/search', { body });
    expect(status).toBe(202);
    return shown.id;
  };
  const look = async (id: string) => (await client().json(`/v1/search/${id}`)).body;
  const until = async (id: string, scored: number) => {
    const giveUpAt = performance.now() + 60_000;
    for (let shown = await look(id); ; shown = await look(id)) {
      if (shown.status !== 'running' || shown.trials.scored >= scored || performance.now() > giveUpAt) return shown;
      await delay(50);
    }
  };
  const treeOf = (shown: { tree: Trial[] }) =>
    shown.tree.map(({ parent, arm, answer, score }) => ({ parent, arm, answer, score }));

  test(`after ${kills} kills the tree is the one without, and only calls under way were made again`, async () => {
    upstream.delayMs = 5;
    const undisturbed = await until(await begin(), Number.POSITIVE_INFINITY);
    expect(undisturbed).toMatchObject({ status: 'completed', trials: { scored: trials } });

    upstream.delayMs = 150;
    upstream.calls.length = 0;
    const random = seededRandom(seed);
    const id = await begin();
    for (let killed = 0; killed < kills; killed += 1) {
      await until(id, 20 * killed + 2 + Math.floor(random.fraction() * 10));
      await delay(random.fraction() * 150);
      await kill();
      edge = await start();
    }
    const shown = await until(id, Number.POSITIVE_INFINITY);
    console.log(`${host}, seed ${seed}: ${kills} kills, ${upstream.calls.length} calls for ${trials} trials`);
    expect(shown).toMatchObject({ status: 'completed', reason: 'trials', trials: { scored: trials, failed: 0 } });
    expect(treeOf(shown)).toEqual(treeOf(undisturbed));
    expect(upstream.calls.length).toBeLessThanOrEqual(trials + kills);
  }, 600_000);
});
