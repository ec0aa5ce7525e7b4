/**
 * The 1,000 sentences on which embeddings are compared: mostly English, with other scripts, code, links, emoji,
 * numbers, single words, and texts longer than the model reads. All of it is written here or generated from a seed.
 *
 * `node tests/quality/corpus.ts` prints the JSON array that is kept as `tests/vectors/embeddings-1000.json`.
 */

import { AWKWARD_LINES, MULTILINGUAL_LINES } from './lines.ts';
import { SeededRandom } from './random.ts';
import {
  CODE_PATTERNS,
  EMOJI_PATTERNS,
  ENGLISH_PATTERNS,
  LINK_PATTERNS,
  NUMBER_PATTERNS,
  SHORT_PATTERNS,
  WORDS,
} from './words.ts';

const SEED = 20_261_123;
export const SENTENCES = 1000;

/** How many generated texts of each kind; the hand-written lines and English sentences fill up to `SENTENCES`. */
const COUNTS = { short: 60, number: 40, code: 40, link: 35, emoji: 30, paragraph: 80, long: 35 } as const;
/** A paragraph stays within the model's 256 tokens, a long text goes beyond them. */
const PARAGRAPH_SENTENCES = [3, 8] as const;
const LONG_SENTENCES = [18, 40] as const;

/** Fills every `{name}` of `pattern`: `{n3}` is a number of three digits, `{d}` one digit, else a word of that list. */
function fill(pattern: string, random: SeededRandom): string {
  return pattern.replace(/\{(n[234]|d|[a-z]+)\}/g, (whole, name: string) => {
    if (name === 'd') return String(random.whole(1, 9));
    const digits = /^n([234])$/.exec(name)?.[1];
    if (digits !== undefined) return String(random.whole(10 ** (Number(digits) - 1), 10 ** Number(digits) - 1));
    const words = WORDS[name];
    return words === undefined ? whole : random.pick(words);
  });
}

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const english = (random: SeededRandom): string => capitalised(fill(random.pick(ENGLISH_PATTERNS), random));

const several = (random: SeededRandom, [lowest, highest]: readonly [number, number]): string =>
  Array.from({ length: random.whole(lowest, highest) }, () => english(random)).join(' ');

/** The corpus, without duplicates, always the same. */
export function corpus(): string[] {
  const random = new SeededRandom(SEED);
  const sentences = new Set<string>([...MULTILINGUAL_LINES, ...AWKWARD_LINES]);
  const fillTo = (count: number, make: () => string): void => {
    while (sentences.size < count) sentences.add(make());
  };
  const add = (count: number, make: () => string): void => fillTo(sentences.size + count, make);
  add(COUNTS.short, () => fill(random.pick(SHORT_PATTERNS), random));
  add(COUNTS.number, () => fill(random.pick(NUMBER_PATTERNS), random));
  add(COUNTS.code, () => fill(random.pick(CODE_PATTERNS), random));
  add(COUNTS.link, () => fill(random.pick(LINK_PATTERNS), random));
  add(COUNTS.emoji, () => fill(random.pick(EMOJI_PATTERNS), random));
  add(COUNTS.paragraph, () => several(random, PARAGRAPH_SENTENCES));
  add(COUNTS.long, () => several(random, LONG_SENTENCES));
  fillTo(SENTENCES, () => english(random));
  return [...sentences];
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(corpus(), null, 1)}\n`);
