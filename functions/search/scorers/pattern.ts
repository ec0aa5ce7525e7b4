/**
 * Regular expressions of tenants, matched in time linear in the text: JavaScript's own engine backtracks, so that one
 * pattern could stall the isolate for everyone. This one builds Thompson's automaton and walks all of its states at once
 * (R. Cox, "Regular Expression Matching Can Be Simple And Fast", 2007). It knows what can be done so: literals, classes,
 * `.`, groups, `|`, `* + ? {m,n}`, `^ $ \b \B`; back references and look-around are refused. Whether greedy or lazy makes
 * no difference to whether there is a match, which is all that is asked.
 */

/** Characters of a pattern at most. */
export const patternLengthMax = 500;
/** Instructions of its automaton at most; a repetition counts as often as it may repeat. */
export const patternInstructionsMax = 1_000;
/** Characters of a text that is looked at; with the bound above, a match costs 20 million steps at worst. */
export const patternTextMax = 20_000;
/** Groups within each other at most. */
export const patternDepthMax = 50;

/** A pattern that cannot be used, and why. */
export class PatternRefused extends Error {
  override readonly name = 'PatternRefused';
}

type Range = readonly [from: number, to: number];

interface Class {
  readonly ranges: readonly Range[];
  readonly isNegated: boolean;
}

type Assertion = 'begin' | 'end' | 'boundary' | 'inside';

type Instruction =
  | { readonly kind: 'one'; readonly class: Class }
  | { readonly kind: 'split'; to: number[] }
  | { readonly kind: 'assert'; readonly assertion: Assertion }
  | { readonly kind: 'match' };

type Node =
  | { readonly kind: 'one'; readonly class: Class }
  | { readonly kind: 'assert'; readonly assertion: Assertion }
  | { readonly kind: 'sequence'; readonly parts: readonly Node[] }
  | { readonly kind: 'either'; readonly options: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly least: number; readonly most: number };

const digit: Range[] = [[0x30, 0x39]];
const word: Range[] = [...digit, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const space: Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Range[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const classes: Readonly<Record<string, readonly Range[]>> = { d: digit, w: word, s: space };
const controls: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b, 0: 0x00 };
const codePointMax = 0x10ffff;

const within = (ranges: readonly Range[], code: number): boolean =>
  ranges.some(([from, to]) => code >= from && code <= to);

/** All characters that are in none of `ranges`. */
function inverted(ranges: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  let next = 0;
  for (const [from, to] of [...ranges].sort(([a], [b]) => a - b)) {
    if (from > next) gaps.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  if (next <= codePointMax) gaps.push([next, codePointMax]);
  return gaps;
}

/** Reads a pattern into a tree. */
class Parser {
  readonly #characters: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  parse(): Node {
    const node = this.#either();
    if (this.#at < this.#characters.length) throw new PatternRefused('a ) has no (');
    return node;
  }

  get #next(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(): string {
    const character = this.#next;
    if (character === undefined) throw new PatternRefused('the pattern ends too early');
    this.#at += 1;
    return character;
  }

  #skip(character: string): boolean {
    if (this.#next !== character) return false;
    this.#at += 1;
    return true;
  }

  #either(): Node {
    const options = [this.#sequence()];
    while (this.#skip('|')) options.push(this.#sequence());
    return options.length === 1 && options[0] !== undefined ? options[0] : { kind: 'either', options };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    while (this.#next !== undefined && this.#next !== '|' && this.#next !== ')') parts.push(this.#repeated());
    return { kind: 'sequence', parts };
  }

  #repeated(): Node {
    let part = this.#atom();
    for (let times = this.#times(); times !== null; times = this.#times()) {
      part = { kind: 'repeat', part, ...times };
      this.#skip('?');
    }
    return part;
  }

  #times(): { least: number; most: number } | null {
    if (this.#skip('*')) return { least: 0, most: Number.POSITIVE_INFINITY };
    if (this.#skip('+')) return { least: 1, most: Number.POSITIVE_INFINITY };
    if (this.#skip('?')) return { least: 0, most: 1 };
    const shown = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#characters.slice(this.#at, this.#at + 12).join(''));
    if (shown === null) return null;
    const [text, from = '0', comma, to] = shown;
    this.#at += text.length;
    const least = Number(from);
    const most = comma === undefined ? least : to === '' ? Number.POSITIVE_INFINITY : Number(to);
    if (most < least) throw new PatternRefused('the numbers of a repetition are out of order');
    return { least, most };
  }

  #atom(): Node {
    const character = this.#take();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'one', class: this.#class() };
      case '.':
        return { kind: 'one', class: { ranges: lineEnds, isNegated: true } };
      case '^':
        return { kind: 'assert', assertion: 'begin' };
      case '$':
        return { kind: 'assert', assertion: 'end' };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw new PatternRefused(`there is nothing before ${character} to repeat`);
      default:
        return literal(character);
    }
  }

  #group(): Node {
    this.#depth += 1;
    if (this.#depth > patternDepthMax) throw new PatternRefused(`groups lie more than ${patternDepthMax} deep`);
    if (this.#skip('?') && !this.#skip(':')) {
      if (!this.#skip('<') || this.#next === '=' || this.#next === '!') {
        throw new PatternRefused('look-around is not supported');
      }
      while (this.#take() !== '>');
    }
    const node = this.#either();
    if (!this.#skip(')')) throw new PatternRefused('a ( has no )');
    this.#depth -= 1;
    return node;
  }

  #escape(): Node {
    const character = this.#take();
    if (character === 'b') return { kind: 'assert', assertion: 'boundary' };
    if (character === 'B') return { kind: 'assert', assertion: 'inside' };
    if (/[1-9k]/.test(character)) throw new PatternRefused('back references are not supported');
    const known = classes[character.toLowerCase()];
    if (known !== undefined) {
      return { kind: 'one', class: { ranges: known, isNegated: character !== character.toLowerCase() } };
    }
    return literal(String.fromCodePoint(this.#escaped(character)));
  }

  /** The character that an escape other than a class stands for. */
  #escaped(character: string): number {
    const control = controls[character];
    if (control !== undefined) return control;
    if (character === 'x') return this.#hexadecimal(2);
    if (character === 'u') return this.#hexadecimal(4);
    if (/[A-Za-z0-9]/.test(character)) throw new PatternRefused(`\\${character} is not supported`);
    return character.codePointAt(0) ?? 0;
  }

  #hexadecimal(length: number): number {
    const digits = Array.from({ length }, () => this.#take()).join('');
    if (!/^[0-9a-fA-F]+$/.test(digits)) throw new PatternRefused(`${digits} is no hexadecimal number`);
    return Number.parseInt(digits, 16);
  }

  #class(): Class {
    const isNegated = this.#skip('^');
    const ranges: Range[] = [];
    while (!this.#skip(']')) {
      const from = this.#member();
      if (typeof from !== 'number') ranges.push(...from);
      else if (this.#next === '-' && this.#characters[this.#at + 1] !== ']') {
        this.#at += 1;
        const to = this.#member();
        if (typeof to !== 'number' || to < from) throw new PatternRefused('a range of characters is out of order');
        ranges.push([from, to]);
      } else ranges.push([from, from]);
    }
    return { ranges, isNegated };
  }

  #member(): number | readonly Range[] {
    const character = this.#take();
    if (character !== '\\') return character.codePointAt(0) ?? 0;
    const escaped = this.#take();
    if (escaped === 'b') return 0x08;
    const known = classes[escaped.toLowerCase()];
    if (known !== undefined) return escaped === escaped.toLowerCase() ? known : inverted(known);
    return this.#escaped(escaped);
  }
}

function literal(character: string): Node {
  const code = character.codePointAt(0) ?? 0;
  return { kind: 'one', class: { ranges: [[code, code]], isNegated: false } };
}

/** Turns the tree into instructions; one that is not a split goes on to the next. */
class Compiler {
  readonly instructions: Instruction[] = [];

  add(node: Node): void {
    switch (node.kind) {
      case 'one':
      case 'assert':
        this.#push(node);
        return;
      case 'sequence':
        for (const part of node.parts) this.add(part);
        return;
      case 'either':
        this.#either(node.options);
        return;
      case 'repeat':
        for (let time = 0; time < node.least; time += 1) this.add(node.part);
        if (node.most === Number.POSITIVE_INFINITY) this.#loop(node.part);
        else this.#optional(node.part, node.most - node.least);
    }
  }

  finish(): readonly Instruction[] {
    this.#push({ kind: 'match' });
    return this.instructions;
  }

  #push(instruction: Instruction): number {
    if (this.instructions.length >= patternInstructionsMax) throw new PatternRefused('the pattern is too large');
    return this.instructions.push(instruction) - 1;
  }

  #split(): { to: number[] } {
    const split = { kind: 'split' as const, to: [] as number[] };
    this.#push(split);
    return split;
  }

  #either(options: readonly Node[]): void {
    const begin = this.#split();
    const ends: { to: number[] }[] = [];
    for (const option of options) {
      begin.to.push(this.instructions.length);
      this.add(option);
      ends.push(this.#split());
    }
    for (const end of ends) end.to.push(this.instructions.length);
  }

  #loop(part: Node): void {
    const at = this.instructions.length;
    const begin = this.#split();
    begin.to.push(this.instructions.length);
    this.add(part);
    this.#split().to.push(at);
    begin.to.push(this.instructions.length);
  }

  #optional(part: Node, times: number): void {
    const splits: { to: number[] }[] = [];
    for (let time = 0; time < times; time += 1) {
      const split = this.#split();
      split.to.push(this.instructions.length);
      splits.push(split);
      this.add(part);
    }
    for (const split of splits) split.to.push(this.instructions.length);
  }
}

/** A pattern that is ready to be looked for. */
export class Pattern {
  readonly #instructions: readonly Instruction[];
  readonly #ignoresCase: boolean;

  /** @throws PatternRefused */
  constructor(pattern: string, ignoresCase = false) {
    if (pattern.length > patternLengthMax)
      throw new PatternRefused(`a pattern has at most ${patternLengthMax} characters`);
    const compiler = new Compiler();
    compiler.add(new Parser(pattern).parse());
    this.#instructions = compiler.finish();
    this.#ignoresCase = ignoresCase;
  }

  /** Whether the pattern matches anywhere in the first `patternTextMax` characters of `text`. */
  test(text: string): boolean {
    const codes = Array.from(text.slice(0, patternTextMax), (character) => character.codePointAt(0) ?? 0);
    let states = new Set<number>();
    for (let at = 0; at <= codes.length; at += 1) {
      // A match may begin anywhere.
      const reached = new Set<number>();
      for (const state of states) this.#reach(state, codes, at, reached);
      this.#reach(0, codes, at, reached);
      const code = codes[at];
      states = new Set();
      for (const state of reached) {
        const instruction = this.#instructions[state];
        if (instruction?.kind === 'match') return true;
        if (instruction?.kind === 'one' && code !== undefined && this.#isIn(instruction.class, code)) {
          states.add(state + 1);
        }
      }
    }
    return false;
  }

  /** Adds `from`, and all that is reached from it without a character, to `reached`. */
  #reach(from: number, codes: readonly number[], at: number, reached: Set<number>): void {
    const waiting = [from];
    for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
      if (reached.has(state)) continue;
      reached.add(state);
      const instruction = this.#instructions[state];
      if (instruction?.kind === 'split') waiting.push(...instruction.to);
      if (instruction?.kind === 'assert' && holds(instruction.assertion, codes, at)) waiting.push(state + 1);
    }
  }

  #isIn({ ranges, isNegated }: Class, code: number): boolean {
    if (within(ranges, code)) return !isNegated;
    if (!this.#ignoresCase) return isNegated;
    const character = String.fromCodePoint(code);
    const cases = [character.toLowerCase(), character.toUpperCase()];
    return cases.some((one) => [...one].length === 1 && within(ranges, one.codePointAt(0) ?? 0)) !== isNegated;
  }
}

function holds(assertion: Assertion, codes: readonly number[], at: number): boolean {
  const isWord = (place: number) => place >= 0 && place < codes.length && within(word, codes[place] ?? 0);
  switch (assertion) {
    case 'begin':
      return at === 0;
    case 'end':
      return at === codes.length;
    case 'boundary':
      return isWord(at - 1) !== isWord(at);
    case 'inside':
      return isWord(at - 1) === isWord(at);
  }
}
