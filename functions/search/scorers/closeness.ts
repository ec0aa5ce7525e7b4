/** Scores that follow from the answer's text alone, each the same every time. */
import type { SimpleScorer } from '../definition.ts';
import { type JsonSchema, SchemaValidator } from './json-schema.ts';
import { Pattern } from './pattern.ts';

/** A score from 0 to 1, and what would make it higher. */
export interface Score {
  readonly score: number;
  readonly feedback: string;
}

/** Characters of an answer in which a number is looked for. */
const numberTextMax = 20_000;

type Of<Type extends SimpleScorer['type']> = Extract<SimpleScorer, { type: Type }>;

/** 1 for JSON that the schema allows; 0 for what is no JSON; between, 1 / (2 + faults). */
export function bySchema({ schema }: Of<'json_schema'>, answer: string): Score {
  let value: unknown;
  try {
    value = JSON.parse(answer);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.slice(0, 200) : '';
    return { score: 0, feedback: `The answer must be JSON and nothing else. ${reason}` };
  }
  const faults = new SchemaValidator(schema as JsonSchema).faults(value);
  if (faults.length === 0) return { score: 1, feedback: '' };
  return { score: 1 / (2 + faults.length), feedback: `The JSON is not valid: ${faults.join('; ')}.` };
}

/** 1 where the pattern matches anywhere, 0 else. */
export function byPattern({ pattern, ignore_case: ignoresCase }: Of<'pattern'>, answer: string): Score {
  if (new Pattern(pattern, ignoresCase).test(answer)) return { score: 1, feedback: '' };
  return { score: 0, feedback: `The answer must match the regular expression ${pattern}` };
}

/** 1 for the expected text, blanks around it aside; 0 else. The feedback does not give it away. */
export function byText({ expected, ignore_case: ignoresCase }: Of<'exact'>, answer: string): Score {
  const plain = (text: string) => (ignoresCase ? text.trim().toLowerCase() : text.trim());
  if (plain(answer) === plain(expected)) return { score: 1, feedback: '' };
  return { score: 0, feedback: 'The answer is not the expected one.' };
}

/** The last number in `text`, thousands divided by commas or not; null where there is none. */
export function lastNumber(text: string): number | null {
  const found = text.slice(-numberTextMax).match(/[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d{1,3})?/g);
  const last = found?.at(-1);
  if (last === undefined) return null;
  const value = Number(last.replaceAll(',', ''));
  return Number.isFinite(value) ? value : null;
}

/** scale / (scale + distance) of the answer's last number; the scale is a tenth of what is expected, 0.1 at least. */
export function byNumber({ expected, scale }: Of<'numeric'>, answer: string): Score {
  const value = lastNumber(answer);
  if (value === null) return { score: 0, feedback: 'The answer must hold a number.' };
  const half = scale ?? Math.max(0.1, Math.abs(expected) / 10);
  const distance = Math.abs(value - expected);
  if (distance === 0) return { score: 1, feedback: '' };
  return { score: half / (half + distance), feedback: `${value} is too ${value > expected ? 'high' : 'low'}.` };
}
