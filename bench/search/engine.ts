/** The two engines behind one seam: begin a search, tell the score before, get the next trial. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { SearchModule, SearchOptions } from '../../functions/search/core/search-module.ts';

/** A trial: which answer it refines, by the number of the answer's own trial from 0 on, or null for none. */
export interface Step {
  readonly parent: number | null;
  readonly arm: number;
}

/** One engine with one algorithm. */
export interface Engine {
  readonly name: string;
  begin(arms: number, seed: number): Promise<void>;
  /** Tells the score of the trial before, but for the first time, and gives the next. */
  next(score: number | null): Promise<Step>;
}

type Settings = Omit<SearchOptions, 'arms' | 'seed'>;

/** The product's core, in WebAssembly. */
export function treeline(name: string, module: SearchModule, settings: Settings): Engine {
  let core = module.begin({ ...settings, arms: 1, seed: 0 });
  let open = 0;
  return {
    name,
    async begin(arms, seed) {
      core.free();
      core = module.begin({ ...settings, arms, seed });
    },
    async next(score) {
      if (score !== null) core.tell(open, score, {}, 0);
      const [trial] = core.ask(1, 0);
      if (trial === undefined) throw new Error(`${name} gave no trial`);
      open = trial.id;
      return { parent: trial.parent === 0 ? null : trial.parent - 1, arm: trial.arm };
    },
  };
}

/** A process that runs `peer.py`. */
export class PeerProcess {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(python: string, program: string) {
    this.#process = spawn(python, ['-B', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#process.stdout === null) throw new Error('the peer has no output');
    this.#reader = createInterface({ input: this.#process.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** One request and its answer. */
  async call<Answer>(request: Record<string, unknown>): Promise<Answer> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the peer has ended');
    return JSON.parse(value) as Answer;
  }

  /** Ends the process. */
  stop(): void {
    this.#process.stdin?.end();
    this.#reader.close();
  }
}

/** TreeQuest. */
export function treeQuest(name: string, algorithm: string, peer: PeerProcess): Engine {
  return {
    name,
    async begin(arms, seed) {
      await peer.call({ call: 'open', algorithm, arms, seed });
    },
    async next(score) {
      const { parent, arm } = await peer.call<{ parent: number; arm: number }>({ call: 'next', score });
      return { parent: parent < 0 ? null : parent, arm };
    },
  };
}
