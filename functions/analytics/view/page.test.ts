import { expect, test } from 'vitest';
import { definitionSchema } from '../definition.ts';
import type { ShownReport } from '../shown.ts';
import { experimentPage } from './page.ts';

const { arms: _, ...definition } = definitionSchema.parse({ name: 'test' });
const stored = {
  ...{ tenantId: 't', id: '0'.repeat(12), name: 'test', createdAtMs: 0, endedAtMs: null },
  definition: { ...definition, seed: 1 },
};
const arm = (name: string, mean: number) => ({
  ...{ arm: name, active: true, excluded: false, probability: 0.5, decisions: 12, count: 10, mean },
  ...{ interval: { low: mean - 0.1, high: mean + 0.1 }, rewards: [] },
});
const report: ShownReport = {
  ...{ newest_ms: 1, open: 3, alpha: 0.05, best_point: null },
  tasks: [
    {
      ...{ task: '<b>"task"</b>', arms: [arm('<i>', 0.8), arm('b', 0.2)], best: '<i>', decided: true, needed: 0 },
      regret: { estimate: 6, low: 4, high: 8 },
      effects: [{ parameter: 'p', setting: '&', count: 9, effect: 0.3, low: 0.1, high: 0.5, confounded: true }],
    },
  ],
  traffic: [{ start_ms: 0, width_ms: 3_600_000, decisions: { '<i>': 7, b: 5 } }],
};

test('the page tells the verdict in words and plots, and no name becomes markup', () => {
  const page = experimentPage(stored, report);
  expect(page).toContain('is the best: its interval lies above all others');
  expect(page).toContain('3 decisions await their rewards');
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).not.toMatch(/<i>|<b>"task|<script|NaN|undefined/);
});

test('an experiment without decisions has a page too', () => {
  const page = experimentPage(stored, { ...report, tasks: [], traffic: [] });
  expect(page).toContain('None yet.');
});

test('points of a space are told by their best, and not compared like arms', () => {
  const space = [
    { name: 'temperature', low: 0, high: 1, logarithmic: false, whole: false },
    { name: 'model', options: ['small', 'large'] },
  ];
  const continuous = { ...stored, definition: { ...stored.definition, space } };
  const [task] = report.tasks;
  const tasks = task === undefined ? [] : [{ ...task, task: '', arms: [arm('', 0.5)], best: '', effects: [] }];
  const page = experimentPage(continuous, {
    ...{ ...report, tasks, traffic: [] },
    best_point: { point: [0.25, 1], mean: 0.9, deviation: 0.1 },
  });
  expect(page).toContain('12 points were tried; 10 rewards came. Their mean is 0.5.');
  expect(page).toContain('<b>temperature</b> 0.25');
  expect(page).toContain('<b>model</b> large');
});
