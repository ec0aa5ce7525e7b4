/** What the Workers entry imports that no package describes: modules of the bundle, and the runtime's own. */
declare module 'cloudflare:workers' {
  export class DurableObject<Bindings = unknown> {
    protected readonly env: Bindings;
    protected readonly ctx: {
      waitUntil(work: Promise<unknown>): void;
      readonly storage: {
        /** Synchronous, for objects that are kept in SQLite. */
        readonly kv: {
          get<Value>(key: string): Value | undefined;
          put<Value>(key: string, value: Value): void;
        };
        readonly sql: { exec(text: string, ...values: (string | number)[]): { toArray(): Record<string, unknown>[] } };
        setAlarm(atMs: number): Promise<void>;
        deleteAll(): Promise<void>;
      };
    };
  }
}

declare module '*.wasm' {
  const compiled: WebAssembly.Module;
  export default compiled;
}

declare module '*.tlm' {
  const bytes: ArrayBuffer;
  export default bytes;
}
