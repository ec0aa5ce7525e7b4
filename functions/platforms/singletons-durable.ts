/** What must exist once, by name, as durable objects of Cloudflare. */
import { DurableObject } from 'cloudflare:workers';
import type { Singletons } from '../ports.ts';

interface SingletonStub {
  read(): Promise<{ state: string | null; version: number }>;
  replace(version: number, state: string): Promise<boolean>;
}

/** The binding of the class `Singleton`. */
export interface SingletonNamespace {
  getByName(name: string): SingletonStub;
}

/**
 * Times that a change is made anew because another one came first. Of callers in step with each other one gets through
 * each time, so this many may come at once.
 */
const changeAttemptsMax = 256;

interface StoredState {
  readonly state: string;
  readonly version: number;
}

/**
 * The state behind one name. Storage is read and written without a wait between, so that nothing comes between the
 * comparison in `replace` and its write.
 */
export class Singleton extends DurableObject {
  read(): { state: string | null; version: number } {
    return this.ctx.storage.kv.get<StoredState>('state') ?? { state: null, version: 0 };
  }

  replace(version: number, state: string): boolean {
    if (this.read().version !== version) return false;
    this.ctx.storage.kv.put('state', { state, version: version + 1 });
    return true;
  }
}

/** The port `Singletons` over the durable objects of `namespace`. */
export function durableSingletons(namespace: SingletonNamespace): Singletons {
  return {
    async update<State, Result>(name: string, change: (state: State | null) => { state: State; result: Result }) {
      const stub = namespace.getByName(name);
      for (let attempt = 0; attempt < changeAttemptsMax; attempt += 1) {
        const { state, version } = await stub.read();
        const changed = change(state === null ? null : (JSON.parse(state) as State));
        if (await stub.replace(version, JSON.stringify(changed.state))) return changed.result;
      }
      throw new Error(`The state ${name} is too busy: ${changeAttemptsMax} changes came first.`);
    },
  };
}
