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

/** The state behind one name. A durable object runs one method at a time, which makes `replace` a compare-and-set. */
export class Singleton extends DurableObject {
  async read(): Promise<{ state: string | null; version: number }> {
    return (await this.ctx.storage.get<{ state: string; version: number }>('state')) ?? { state: null, version: 0 };
  }

  async replace(version: number, state: string): Promise<boolean> {
    const current = await this.read();
    if (current.version !== version) return false;
    await this.ctx.storage.put('state', { state, version: version + 1 });
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
