import { expect, test } from 'vitest';
import { algorithmFor, modelsOf, rendered, type Scorer, searchRequest, trialsMax } from './definition.ts';

const request = {
  messages: [{ role: 'user', content: 'Hello' }],
  arms: [{ model: 'm' }],
  scorer: { type: 'exact', expected: 'x' },
};

test('what is left out has its default', () => {
  expect(searchRequest.parse(request)).toMatchObject({
    algorithm: 'auto',
    budget: { trials: 16 },
    concurrency: 2,
    deadline_ms: 600_000,
    score_reached: 1,
  });
});

test.each<[string, object]>([
  ['no messages', { messages: [] }],
  ['messages and a prompt', { prompt: { template: 'x' } }],
  ['no arm', { arms: [] }],
  ['a search as an arm', { arms: [{ model: 'abmcts/m' }] }],
  ['a budget of zero', { budget: { trials: 0 } }],
  ['a budget beyond all bounds', { budget: { trials: trialsMax + 1 } }],
  ['a pattern that no automaton can match', { scorer: { type: 'pattern', pattern: '(?=x)' } }],
  ['a schema with an unknown keyword', { scorer: { type: 'json_schema', schema: { minimun: 1 } } }],
  ['a mix within a mix', { scorer: { type: 'mix', parts: [{ weight: 1, scorer: { type: 'mix', parts: [] } }] } }],
  ['a field that nobody knows', { budgets: {} }],
  ['a parameter that is no model’s', { arms: [{ model: 'm', parameters: { stream: true } }] }],
])('%s is refused', (_, change) => {
  expect(searchRequest.safeParse({ ...request, ...change }).success).toBe(false);
});

test('a template takes its variables, and is nothing without one of them', () => {
  expect(rendered({ template: '{{ a }} and {{b}}', variables: { a: '$&', b: '{{a}}' } })).toBe('$& and {{a}}');
  expect(rendered({ template: '{{a}}', variables: {} })).toBe(null);
  expect(rendered({ template: '{{constructor}}', variables: {} })).toBe(null);
});

test('auto refines where scores say what to mend, widens where they say right or wrong, and is AB-MCTS else', () => {
  const by = (scorer: object) => algorithmFor('auto', scorer as Scorer);
  expect([by({ type: 'json_schema' }), by({ type: 'exact' }), by({ type: 'judge' })]).toEqual([
    'best-first',
    'repeated-sampling',
    'abmcts-a',
  ]);
  expect(algorithmFor('mcts', { type: 'client' })).toBe('mcts');
});

test('the models of a search are those of its arms and of its judges, each once', () => {
  const judge = { type: 'judge' as const, model: 'j', parameters: {} };
  const arms = [
    { model: 'm', parameters: {} },
    { model: 'm', parameters: { temperature: 1 } },
  ];
  expect(modelsOf({ arms, scorer: { type: 'mix', parts: [{ weight: 1, scorer: judge }] } })).toEqual(['m', 'j']);
});
