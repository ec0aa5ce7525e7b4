import { expect, test } from 'vitest';
import { type JsonSchema, SchemaRefused, SchemaValidator } from './json-schema.ts';

const isValid = (schema: JsonSchema, value: unknown) => new SchemaValidator(schema).faults(value).length === 0;

const person = {
  $defs: { name: { type: 'string', minLength: 1, pattern: '^[A-Z]' } },
  type: 'object',
  properties: {
    name: { $ref: '#/$defs/name' },
    age: { type: 'integer', minimum: 0 },
    tags: { type: 'array', uniqueItems: true },
  },
  required: ['name'],
  additionalProperties: false,
};

// As text, since a value with a `then` is taken for a promise by linters.
const branch = JSON.parse('{"if":{"type":"string"},"then":{"minLength":2},"else":false}') as JsonSchema;

test.each<[JsonSchema, unknown, boolean]>([
  [person, { name: 'Ada', age: 36 }, true],
  [person, { name: 'ada' }, false],
  [person, { age: 1 }, false],
  [person, { name: 'Ada', age: 1.5 }, false],
  [person, { name: 'Ada', other: 1 }, false],
  [
    person,
    {
      name: 'Ada',
      tags: [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    },
    false,
  ],
  [{ enum: [1, { a: [1] }] }, { a: [1] }, true],
  [{ const: { a: 1, b: 2 } }, { b: 2, a: 1 }, true],
  [{ type: ['null', 'string'] }, null, true],
  [{ oneOf: [{ type: 'number' }, { type: 'integer' }] }, 3, false],
  [{ anyOf: [{ minimum: 5 }, { maximum: 1 }] }, 3, false],
  [{ not: { type: 'string' } }, 'x', false],
  [branch, 'x', false],
  [branch, 'xy', true],
  [branch, 1, false],
  [{ prefixItems: [{ type: 'string' }], items: { type: 'number' } }, ['a', 1, 2], true],
  [{ prefixItems: [{ type: 'string' }], items: { type: 'number' } }, ['a', 'b'], false],
  [{ contains: { const: 3 } }, [1, 2], false],
  [{ multipleOf: 0.1 }, 0.3, true],
  [{ exclusiveMinimum: 1 }, 1, false],
  [{ patternProperties: { '^x_': { type: 'number' } }, additionalProperties: false }, { x_a: 1 }, true],
  [{ patternProperties: { '^x_': { type: 'number' } }, additionalProperties: false }, { y: 1 }, false],
  [{ propertyNames: { maxLength: 2 } }, { abc: 1 }, false],
  [{ maxLength: 1 }, '😀', true],
  [false, 1, false],
  [true, 1, true],
])('%j on %j: %s', (schema, value, expected) => {
  expect(isValid(schema, value)).toBe(expected);
});

test('each fault says where it lies', () => {
  expect(new SchemaValidator(person).faults({ name: '', age: -1 })).toEqual([
    '/name must have at least 1 characters',
    '/name must match ^[A-Z]',
    '/age must be at least 0',
  ]);
});

test('a schema that refers to itself validates trees, and one without an end is refused, not followed', () => {
  const tree = { type: 'object', properties: { left: { $ref: '#' }, value: { type: 'number' } }, required: ['value'] };
  expect(isValid(tree, { value: 1, left: { value: 2 } })).toBe(true);
  expect(isValid(tree, { value: 1, left: { value: 'two' } })).toBe(false);
  expect(() => isValid({ $ref: '#' }, 1)).toThrow(SchemaRefused);
  const bomb = {
    $defs: { a: { allOf: Array.from({ length: 30 }, () => ({ $ref: '#/$defs/a' })) } },
    $ref: '#/$defs/a',
  };
  expect(() => isValid(bomb, 1)).toThrow(SchemaRefused);
});

test.each<[JsonSchema, string]>([
  [{ unevaluatedProperties: false }, 'unevaluatedProperties'],
  [{ type: 'text' }, '#/type'],
  [{ properties: { a: { minimum: '1' } } }, '#/properties/a/minimum'],
  [{ pattern: '(a)\\1' }, 'back references'],
  [{ $ref: '#/$defs/none' }, 'points to no schema'],
  [{ $ref: 'https://example.com/other.json' }, '#/$ref'],
])('%j is refused by name', (schema, named) => {
  expect(() => new SchemaValidator(schema)).toThrow(named);
});
