import { expect, test } from 'vitest';
import { referencePage } from './page.ts';

const page = referencePage({
  info: { title: 'T<reeline>', version: '1', description: 'a & b' },
  paths: {
    '/v1/things/{id}': {
      post: {
        summary: 'Make "one"',
        security: [{ key: [] }],
        parameters: [{ name: 'id', in: 'path' }],
        requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } },
        responses: { 200: { description: 'done' }, 404: { description: '<none>' } },
      },
    },
  },
  components: { schemas: { Thing: { type: 'object', properties: { size: { type: 'integer', example: 3 } } } } },
});

test('every operation, its answers and its schemas are on the page, with a link to each', () => {
  expect(page).toContain('<a href="#post--v1-things-id-">');
  expect(page).toContain('<h2 id="post--v1-things-id-">');
  expect(page).toContain('<a href="#schema-Thing">Thing</a>');
  expect(page).toContain('<h2 id="schema-Thing">');
  expect(page).toContain('Needs a key');
  expect(page).toMatch(/&#34;size&#34;: 3/);
});

test('text of the document cannot become markup', () => {
  expect(page).not.toContain('<reeline>');
  expect(page).not.toContain('<none>');
  expect(page).toContain('T&#60;reeline&#62;');
  expect(page).toContain('a &#38; b');
});

test('the page needs nothing from elsewhere', () => {
  expect(page).not.toMatch(/<script|src=|https?:\/\//);
});
