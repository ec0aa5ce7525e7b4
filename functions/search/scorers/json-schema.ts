/**
 * JSON Schema (draft 2020-12) without code generation, which isolates forbid, for the keywords that say what a value is.
 * A schema with a keyword that is not known is refused, since leaving it out would call invalid answers valid.
 */
import { Pattern, PatternRefused } from './pattern.ts';

/** Schemas within each other at most, by nesting and by reference. */
export const schemaDepthMax = 64;
/** Steps of one validation at most: references may make a small schema a large one. */
export const schemaStepsMax = 200_000;
/** Faults that are looked for in one value. */
export const faultsMax = 20;

/** A schema that cannot be used, and why. */
export class SchemaRefused extends Error {
  override readonly name = 'SchemaRefused';
}

/** A JSON Schema: an object of keywords, or true or false. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

const types = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'];
/** Keywords that say something about the schema, not about values. */
const annotations = new Set([
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'format',
  'deprecated',
  'readOnly',
  'writeOnly',
  'contentEncoding',
  'contentMediaType',
]);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isSchema = (value: unknown): value is JsonSchema => typeof value === 'boolean' || isObject(value);
const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 0;
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');
const isType = (value: unknown): boolean =>
  typeof value === 'string' ? types.includes(value) : isStrings(value) && value.every((one) => types.includes(one));
const isSchemas = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isSchema);
const isSchemaMap = (value: unknown): boolean => isObject(value) && Object.values(value).every(isSchema);

/** What the value of each keyword must be. */
const keywords: Readonly<Record<string, (value: unknown) => boolean>> = {
  $ref: (value) => typeof value === 'string' && /^#(\/|$)/.test(value),
  type: isType,
  enum: Array.isArray,
  const: () => true,
  properties: isSchemaMap,
  patternProperties: isSchemaMap,
  additionalProperties: isSchema,
  propertyNames: isSchema,
  required: isStrings,
  minProperties: isCount,
  maxProperties: isCount,
  items: isSchema,
  prefixItems: isSchemas,
  contains: isSchema,
  minItems: isCount,
  maxItems: isCount,
  uniqueItems: (value) => typeof value === 'boolean',
  minimum: isNumber,
  maximum: isNumber,
  exclusiveMinimum: isNumber,
  exclusiveMaximum: isNumber,
  multipleOf: (value) => isNumber(value) && value > 0,
  minLength: isCount,
  maxLength: isCount,
  pattern: (value) => typeof value === 'string',
  allOf: isSchemas,
  anyOf: isSchemas,
  oneOf: isSchemas,
  not: isSchema,
  if: isSchema,
  // biome-ignore lint/suspicious/noThenProperty: it is a keyword of JSON Schema.
  then: isSchema,
  else: isSchema,
};

/** A schema that is ready to be used. */
export class SchemaValidator {
  readonly #root: JsonSchema;
  readonly #patterns = new Map<string, Pattern>();
  #steps = 0;

  /** @throws SchemaRefused */
  constructor(schema: JsonSchema) {
    this.#root = schema;
    this.#check(schema, '#', 0);
  }

  /** What is wrong with `value`, each with its place; nothing where it is valid. */
  faults(value: unknown): string[] {
    this.#steps = 0;
    const faults: string[] = [];
    this.#validate(this.#root, value, '', faults, 0);
    return faults.slice(0, faultsMax);
  }

  #check(schema: JsonSchema, place: string, depth: number): void {
    if (depth > schemaDepthMax) throw new SchemaRefused(`the schema is nested more than ${schemaDepthMax} deep`);
    if (typeof schema === 'boolean') return;
    for (const [keyword, value] of Object.entries(schema)) {
      const isKnown = keywords[keyword];
      if (isKnown === undefined && !annotations.has(keyword)) {
        throw new SchemaRefused(`${place}: the keyword "${keyword.slice(0, 40)}" is not supported`);
      }
      if (isKnown?.(value) === false) throw new SchemaRefused(`${place}/${keyword}: the value is not a possible one`);
      this.#checkBelow(keyword, value, `${place}/${keyword}`, depth);
    }
  }

  #checkBelow(keyword: string, value: unknown, place: string, depth: number): void {
    if (keyword === 'const' || keyword === 'enum' || keyword === 'default' || keyword === 'examples') return;
    if (keyword === 'pattern') this.#pattern(String(value));
    if (keyword === 'patternProperties') for (const pattern of Object.keys(value as object)) this.#pattern(pattern);
    if (keyword === '$ref') this.#resolve(String(value));
    else if (['properties', 'patternProperties', '$defs', 'definitions'].includes(keyword) && isObject(value)) {
      for (const [name, one] of Object.entries(value))
        if (isSchema(one)) this.#check(one, `${place}/${name}`, depth + 1);
    } else if (Array.isArray(value)) {
      for (const [at, one] of value.entries()) if (isObject(one)) this.#check(one, `${place}/${at}`, depth + 1);
    } else if (isObject(value)) this.#check(value, place, depth + 1);
  }

  #pattern(source: string): Pattern {
    const known = this.#patterns.get(source);
    if (known !== undefined) return known;
    try {
      const pattern = new Pattern(source);
      this.#patterns.set(source, pattern);
      return pattern;
    } catch (thrown) {
      if (thrown instanceof PatternRefused) throw new SchemaRefused(`the pattern "${source}": ${thrown.message}`);
      throw thrown;
    }
  }

  /** The schema that a local reference points to. */
  #resolve(reference: string): JsonSchema {
    let target: unknown = this.#root;
    for (const step of reference.split('/').slice(1)) {
      const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
      target = isObject(target) || Array.isArray(target) ? (target as Record<string, unknown>)[name] : undefined;
    }
    if (!isSchema(target)) throw new SchemaRefused(`${reference} points to no schema`);
    return target;
  }

  #isValid(schema: JsonSchema, value: unknown, depth: number): boolean {
    const faults: string[] = [];
    this.#validate(schema, value, '', faults, depth);
    return faults.length === 0;
  }

  #validate(schema: JsonSchema, value: unknown, place: string, faults: string[], depth: number): void {
    this.#steps += 1;
    if (depth > schemaDepthMax || this.#steps > schemaStepsMax) {
      throw new SchemaRefused('the schema refers to itself too often for this value');
    }
    if (faults.length >= faultsMax) return;
    if (schema === true) return;
    if (schema === false) {
      faults.push(`${place || 'the value'} must not be there`);
      return;
    }
    const say = (fault: string) => faults.push(`${place || 'the value'} ${fault}`);
    const below = (one: unknown, of: unknown, where: string) =>
      this.#validate(one as JsonSchema, of, where, faults, depth + 1);
    const matches = (one: unknown, of: unknown = value) => this.#isValid(one as JsonSchema, of, depth + 1);
    if (typeof schema.$ref === 'string') below(this.#resolve(schema.$ref), value, place);
    this.#general(schema, value, say);
    this.#combined(schema, value, place, say, below, matches);
    if (typeof value === 'number') numeric(schema, value, say);
    if (typeof value === 'string') this.#text(schema, value, say);
    if (Array.isArray(value)) array(schema, value, place, say, below, matches);
    else if (isObject(value)) this.#object(schema, value, place, say, below, matches);
  }

  #general(schema: Record<string, unknown>, value: unknown, say: Say): void {
    const { type } = schema;
    const allowed = typeof type === 'string' ? [type] : (type as string[] | undefined);
    if (allowed !== undefined && !allowed.some((one) => isOfType(value, one))) say(`must be ${allowed.join(' or ')}`);
    if (Array.isArray(schema.enum) && !schema.enum.some((one) => isSame(one, value))) {
      say(`must be one of ${JSON.stringify(schema.enum).slice(0, 200)}`);
    }
    if ('const' in schema && !isSame(schema.const, value)) say(`must be ${JSON.stringify(schema.const).slice(0, 200)}`);
  }

  #combined(
    schema: Record<string, unknown>,
    value: unknown,
    place: string,
    say: Say,
    below: Below,
    matches: Matches,
  ): void {
    for (const one of (schema.allOf as unknown[] | undefined) ?? []) below(one, value, place);
    const any = schema.anyOf as unknown[] | undefined;
    if (any !== undefined && !any.some((one) => matches(one))) say('matches none of the schemas of anyOf');
    const one = schema.oneOf as unknown[] | undefined;
    if (one !== undefined && one.filter((each) => matches(each)).length !== 1) say('must match one schema of oneOf');
    if (schema.not !== undefined && matches(schema.not)) say('matches a schema that it must not match');
    if (schema.if === undefined) return;
    const branch = matches(schema.if) ? schema.then : schema.else;
    if (branch !== undefined) below(branch, value, place);
  }

  #text(schema: Record<string, unknown>, value: string, say: Say): void {
    const length = [...value].length;
    if (isNumber(schema.minLength) && length < schema.minLength)
      say(`must have at least ${schema.minLength} characters`);
    if (isNumber(schema.maxLength) && length > schema.maxLength)
      say(`must have at most ${schema.maxLength} characters`);
    if (typeof schema.pattern === 'string' && !this.#pattern(schema.pattern).test(value)) {
      say(`must match ${schema.pattern}`);
    }
  }

  #object(
    schema: Record<string, unknown>,
    value: Record<string, unknown>,
    place: string,
    say: Say,
    below: Below,
    matches: Matches,
  ): void {
    const names = Object.keys(value);
    const properties = isObject(schema.properties) ? schema.properties : {};
    const patterns = Object.entries(isObject(schema.patternProperties) ? schema.patternProperties : {});
    for (const name of (schema.required as string[] | undefined) ?? []) {
      if (!Object.hasOwn(value, name)) say(`lacks ${name}`);
    }
    if (isNumber(schema.minProperties) && names.length < schema.minProperties)
      say(`must have at least ${schema.minProperties} properties`);
    if (isNumber(schema.maxProperties) && names.length > schema.maxProperties)
      say(`must have at most ${schema.maxProperties} properties`);
    for (const name of names) {
      const where = `${place}/${name}`;
      if (schema.propertyNames !== undefined && !matches(schema.propertyNames, name))
        say(`must not have the name ${name}`);
      const isNamed = Object.hasOwn(properties, name);
      if (isNamed) below(properties[name], value[name], where);
      const matching = patterns.filter(([source]) => this.#pattern(source).test(name));
      for (const [, one] of matching) below(one, value[name], where);
      if (schema.additionalProperties !== undefined && !isNamed && matching.length === 0) {
        below(schema.additionalProperties, value[name], where);
      }
    }
  }
}

type Say = (fault: string) => void;
type Below = (schema: unknown, value: unknown, place: string) => void;
type Matches = (schema: unknown, value?: unknown) => boolean;

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** Equality of JSON values: the order of an object's names does not count. */
function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((one, at) => isSame(one, right[at]));
  }
  if (!isObject(left) || !isObject(right)) return false;
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length &&
    names.every((name) => Object.hasOwn(right, name) && isSame(left[name], right[name]))
  );
}

function numeric(schema: Record<string, unknown>, value: number, say: Say): void {
  if (isNumber(schema.minimum) && value < schema.minimum) say(`must be at least ${schema.minimum}`);
  if (isNumber(schema.maximum) && value > schema.maximum) say(`must be at most ${schema.maximum}`);
  if (isNumber(schema.exclusiveMinimum) && value <= schema.exclusiveMinimum)
    say(`must be above ${schema.exclusiveMinimum}`);
  if (isNumber(schema.exclusiveMaximum) && value >= schema.exclusiveMaximum)
    say(`must be below ${schema.exclusiveMaximum}`);
  if (isNumber(schema.multipleOf)) {
    const quotient = value / schema.multipleOf;
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9) say(`must be a multiple of ${schema.multipleOf}`);
  }
}

function array(
  schema: Record<string, unknown>,
  value: readonly unknown[],
  place: string,
  say: Say,
  below: Below,
  matches: Matches,
): void {
  if (isNumber(schema.minItems) && value.length < schema.minItems) say(`must have at least ${schema.minItems} items`);
  if (isNumber(schema.maxItems) && value.length > schema.maxItems) say(`must have at most ${schema.maxItems} items`);
  const prefix = (schema.prefixItems as unknown[] | undefined) ?? [];
  for (const [at, one] of value.entries()) {
    const of = at < prefix.length ? prefix[at] : schema.items;
    if (of !== undefined) below(of, one, `${place}/${at}`);
  }
  if (schema.contains !== undefined && !value.some((one) => matches(schema.contains, one)))
    say('must contain a certain item');
  if (schema.uniqueItems === true && new Set(value.map(canonical)).size < value.length)
    say('must not have an item twice');
}

/** JSON with the names of objects in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    isObject(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one,
  );
}
