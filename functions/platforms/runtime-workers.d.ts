/** What the Workers entry imports that no package describes: modules of the bundle, and the runtime's own. */
declare module 'cloudflare:workers' {
  export class DurableObject {
    protected readonly ctx: {
      readonly storage: {
        /** Synchronous, for objects that are kept in SQLite. */
        readonly kv: {
          get<Value>(key: string): Value | undefined;
          put<Value>(key: string, value: Value): void;
        };
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
