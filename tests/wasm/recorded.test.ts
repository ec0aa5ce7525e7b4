/** The built Go modules against recordings that the same Go code made natively. */
import { expect, test } from 'vitest';
import { CacheIndex } from '../../wasm-go/cache.ts';
import { Router } from '../../wasm-go/routing.ts';
import { goModules, repositoryFile } from './modules.ts';

interface CacheStep {
  readonly operation: 'insert' | 'lookup' | 'remove' | 'sweep';
  readonly key?: string;
  readonly weight?: number;
  readonly ttlMs?: number;
  readonly nowMs: number;
  readonly slot: number;
  readonly evicted?: readonly number[];
}

interface RoutingStep {
  readonly nowMs: number;
  readonly fractionA: number;
  readonly fractionB: number;
  readonly endsAfter: number;
  readonly latencyMs: number;
  readonly succeeded: boolean;
  readonly chosen: number;
  readonly average: number;
}

function recording<Head, Step>(path: string): { head: Head; steps: Step[] } {
  const [head, ...steps] = new TextDecoder().decode(repositoryFile(path)).trim().split('\n');
  return { head: JSON.parse(head ?? '') as Head, steps: steps.map((line) => JSON.parse(line) as Step) };
}

test('the cache index gives the answers that native code gave', async () => {
  const { head, steps } = recording<{ entriesMax: number; weightMax: number; seed: number }, CacheStep>(
    'wasm-go/cache/testdata/recorded.jsonl',
  );
  const index = CacheIndex.instantiate(await goModules.compiled('cache'), head);
  const answers = steps.map((step) => answerOf(index, step));
  expect(answers.length).toBeGreaterThan(1000);
  expect(answers).toEqual(steps.map(({ slot, evicted }) => ({ slot, evicted: evicted ?? [] })));
});

function answerOf(index: CacheIndex, step: CacheStep): { slot: number; evicted: readonly number[] } {
  const key = step.key ?? '';
  switch (step.operation) {
    case 'insert':
      return index.insert(key, step.weight ?? 0, step.ttlMs ?? 0, step.nowMs);
    case 'lookup':
      return { slot: index.lookup(key, step.nowMs), evicted: [] };
    case 'remove':
      return { slot: index.remove(key), evicted: [] };
    case 'sweep':
      return { slot: -1, evicted: index.sweep(step.nowMs) };
  }
}

test('the router makes the choices that native code made', async () => {
  const { head, steps } = recording<{ weights: number[] }, RoutingStep>('wasm-go/routing/testdata/recorded.jsonl');
  const router = Router.instantiate(await goModules.compiled('routing'));
  router.setUpstreams(head.weights.map((weight) => ({ weight })));
  const answers = steps.map((step, at) => {
    for (const [begun, call] of steps.slice(0, at).entries()) {
      if (begun + call.endsAfter !== at || call.chosen === -1) continue;
      router.end(call.chosen, step.nowMs, call.latencyMs, call.succeeded);
    }
    const chosen = router.choose(step.nowMs, step.fractionA, step.fractionB);
    if (chosen === -1) return { chosen, average: 0 };
    router.begin(chosen, step.nowMs);
    return { chosen, average: router.upstream(chosen).latencyMs };
  });
  expect(answers.length).toBeGreaterThan(500);
  expect(answers).toEqual(steps.map(({ chosen, average }) => ({ chosen, average })));
});
