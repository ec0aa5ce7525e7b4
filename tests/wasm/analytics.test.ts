/** The built analytics module: it decides and counts as the native build does, to the bit, and refuses by code. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Experiment, initSync, offPolicy } from '../../wasm-rust/pkg/analytics/treeline_analytics.js';
import { repositoryFile } from './modules.ts';

interface Definition {
  readonly name: string;
  readonly features?: number;
  readonly rewards: readonly unknown[];
  readonly space?: readonly unknown[];
}

interface Case {
  readonly definition: Definition;
  readonly steps: number;
  readonly checksum: string;
}

const vectors = new TextDecoder().decode(repositoryFile('tests/vectors/analytics.json'));
const cases = JSON.parse(vectors) as readonly Case[];

beforeAll(() => {
  initSync({ module: new WebAssembly.Module(repositoryFile('wasm-rust/pkg/analytics/treeline_analytics_bg.wasm')) });
});

/** A number in 0..1 from two, the same in Rust and in JavaScript. */
function scattered(left: number, right: number): number {
  return Number((BigInt(left) * 2_654_435_761n + BigInt(right) * 40_503n) % 4_294_967_296n) / 4_294_967_296;
}

/** What `wasm-rust/analytics/tests/hosts.rs` does, in WebAssembly. */
function run({ definition, steps }: Case): string {
  const continuous = definition.space !== undefined;
  const experiment = new Experiment(JSON.stringify(definition));
  for (let arm = 0; arm < (continuous ? 0 : 6); arm += 1) {
    experiment.apply(JSON.stringify({ arm: { atMs: 0, arm: `arm-${arm}`, settings: {}, active: true } }));
  }
  for (let step = 1; step <= steps; step += 1) {
    const [high, low, atMs] = [BigInt(step), BigInt(step * 7), step * 10];
    const features = Float64Array.from({ length: definition.features ?? 0 }, (_, index) => scattered(step, index + 11));
    const choice = experiment.decide(high, low, atMs, step % 3 === 0 ? 'code' : 'chat', features);
    const place = continuous ? Math.floor((choice.point[0] ?? 0) * 4) : choice.arm;
    choice.free();
    definition.rewards.forEach((_, reward) => {
      const uniform = scattered(step, place + 100 * reward);
      const value = reward === 0 ? Number(uniform < 0.3 + 0.05 * place) : 4_000 * uniform;
      if (step % 7 > 0 || reward > 0) experiment.feedback(high, low, atMs + reward, reward, value);
    });
  }
  const bytes = experiment.toBytes();
  experiment.free();
  return Buffer.from(bytes.subarray(-8)).toString('hex');
}

describe('long logs end in the bits of the native build', () => {
  test.each(cases.map((each) => [each.definition.name, each] as const))('%s', (_, each) => {
    expect(run(each)).toBe(each.checksum);
  });
});

/** The code of what a call throws. */
function refusal(call: () => unknown): unknown {
  try {
    call();
  } catch (thrown) {
    return (thrown as { code?: unknown }).code;
  }
  return 'none';
}

test('bad input is refused by code and leaves the module working', () => {
  const [first] = cases;
  const experiment = new Experiment(JSON.stringify(first?.definition));
  const none = new Float64Array();
  expect(refusal(() => new Experiment('{}'))).toBe('definition_invalid');
  expect(refusal(() => Experiment.fromBytes(Uint8Array.of(1, 2, 3)))).toBe('snapshot_corrupt');
  expect(refusal(() => Experiment.fromJson('{"version":9}'))).toBe('snapshot_unsupported');
  expect(refusal(() => experiment.decide(1n, 1n, 5, 'chat', none))).toBe('no_arm');
  expect(refusal(() => experiment.decide(1n, 1n, Number.NaN, 'chat', none))).toBe('event_invalid');
  expect(refusal(() => experiment.apply('{"tick":{}}'))).toBe('event_invalid');
  expect(refusal(() => offPolicy('[]', '{"arm":"a"}', 0.95))).toBe('record_invalid');
  experiment.apply(JSON.stringify({ arm: { atMs: 0, arm: 'a', settings: { model: 'm' }, active: true } }));
  expect(experiment.decide(1n, 1n, 5, 'chat', none).propensity).toBe(1);
});

test('two isolates that went on apart are joined, and a snapshot goes on', () => {
  const [first] = cases;
  const base = new Experiment(JSON.stringify(first?.definition));
  base.apply(JSON.stringify({ arm: { atMs: 0, arm: 'a', settings: {}, active: true } }));
  const [left, right] = [base.copy(), Experiment.fromJson(base.toJson())];
  left.decide(1n, 1n, 5, 'chat', new Float64Array());
  right.decide(2n, 2n, 5, 'chat', new Float64Array());
  const joined = Experiment.merge(base, left, right);
  const report = JSON.parse(joined.report(6, 0.05)) as { namespaces: { arms: { decisions: number }[] }[] };
  expect(report.namespaces[0]?.arms[0]?.decisions).toBe(2);
  expect(Experiment.fromBytes(joined.toBytes()).toJson()).toBe(joined.toJson());
});
