import { beforeEach, describe, expect, test } from 'vitest';
import { goModules } from '../tests/wasm/modules.ts';
import { Router } from './routing.ts';

let router: Router;
beforeEach(async () => {
  router = Router.instantiate(await goModules.compiled('routing'));
});

describe('Router', () => {
  test('nothing is chosen of no upstreams, or where all weigh nothing', () => {
    expect(router.choose(0, 0.5, 0.5)).toBe(-1);
    router.setUpstreams([{ weight: 0 }]);
    expect(router.choose(0, 0.5, 0.5)).toBe(-1);
  });

  test('the draw follows the weights among equals', () => {
    router.setUpstreams([{ weight: 1 }, { weight: 3 }]);
    expect(router.choose(0, 0.24, 0)).toBe(0);
    expect(router.choose(0, 0.26, 0)).toBe(1);
  });

  test('calls in flight turn the choice to the other, and their end turns it back', () => {
    router.setUpstreams([{ weight: 1 }, { weight: 1 }]);
    router.begin(0, 0);
    expect(router.choose(0, 0.1, 0.1)).toBe(1);
    router.end(0, 5, 5, true);
    router.begin(1, 5);
    router.end(1, 10, 5, true);
    expect(router.choose(10, 0.1, 0.1)).toBe(0);
    expect(router.upstream(0)).toEqual({ inFlight: 0, latencyMs: 5, failures: 0, ejectedUntilMs: 0 });
  });

  test('an upstream that keeps failing is left out, and says when it returns', () => {
    router.setUpstreams([{ weight: 1 }]);
    for (let call = 0; call < 5; call++) {
      router.begin(0, 100);
      router.end(0, 100, 1, false);
    }
    expect(router.choose(101, 0.5, 0.5)).toBe(-1);
    expect(router.nextInServiceMs(101)).toBe(10_100);
    expect(router.choose(10_100, 0.5, 0.5)).toBe(0);
    expect(router.nextInServiceMs(10_100)).toBe(-1);
  });

  test('a change of weight keeps what is known', () => {
    router.setUpstreams([{ weight: 1 }, { weight: 1 }]);
    router.begin(0, 0);
    router.setWeight(0, 0);
    expect(router.choose(0, 0, 0)).toBe(1);
    expect(router.upstream(0).inFlight).toBe(1);
  });

  test('bad upstreams and weights are refused', () => {
    expect(() => router.setUpstreams(Array.from({ length: 257 }, () => ({ weight: 1 })))).toThrow(RangeError);
    expect(() => router.setUpstreams([{ weight: -1 }])).toThrow(/weight/);
    expect(() => router.setUpstreams([{ weight: Number.NaN }])).toThrow(/weight/);
    router.setUpstreams([{ weight: 1 }]);
    for (const index of [-1, 1, 0.5, Number.NaN]) {
      expect(() => router.begin(index, 0)).toThrow(/there is no upstream/);
      expect(() => router.end(index, 0, 1, true)).toThrow(/there is no upstream/);
      expect(() => router.upstream(index)).toThrow(/there is no upstream/);
    }
  });
});
