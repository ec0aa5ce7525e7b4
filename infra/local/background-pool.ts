/**
 * The inference pool of a local run, made while the edge answers already: built, its models fetched, started. The edge is
 * told its address from the beginning and finds it once it is up. Whatever fails is told, and stops nothing else.
 */

import { ensurePoolFiles, modelFolders } from '../models/fetch.ts';
import { buildPool } from '../pool/build.ts';
import { never, type Part, type ServicePart } from './part.ts';
import { startPool } from './pool-part.ts';
import { loopback } from './ports.ts';
import type { Progress } from './progress.ts';
import { steps } from './steps.ts';

/** A pool that joins later. */
export class BackgroundPool implements Part {
  readonly name = 'pool, in the background';
  readonly failed = never;
  readonly url: string;
  readonly #port: number;
  readonly #directory: string;
  readonly #abort = new AbortController();
  #node: ServicePart | null = null;
  #work: Promise<void> = Promise.resolve();

  constructor(port: number, directory: string) {
    this.#port = port;
    this.#directory = directory;
    this.url = `http://${loopback}:${port}`;
  }

  /** The node's process, once there is one. */
  get pid(): number | null {
    return this.#node?.pid ?? null;
  }

  /** Begins, and returns at once. `joined` is called when the node answers. */
  begin(progress: Progress, joined: () => Promise<void>): void {
    this.#work = this.#make(progress, joined).catch((error: unknown) => {
      if (this.#abort.signal.aborted) return;
      progress.note(`The pool is left out; all else runs. ${error instanceof Error ? error.message : String(error)}`);
    });
  }

  async #make(progress: Progress, joined: () => Promise<void>): Promise<void> {
    const { signal } = this.#abort;
    const step = steps(progress, signal);
    await step('Building the pool in the background', (one) =>
      buildPool(this.#directory, one, { signal, isPolite: true }),
    );
    await ensurePoolFiles(progress, modelFolders(), signal);
    const start = () => startPool({ port: this.#port, directory: this.#directory, signal });
    this.#node = await step('Pool', start, ({ name }) => name);
    await joined();
    progress.note('The pool has joined: chat with smollm2-135m-instruct at /v1/chat/completions.');
    void this.#node.failed.then((reason) => progress.note(reason));
  }

  /** Ends what is under way, and the node. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#work;
    await this.#node?.stop();
  }
}
