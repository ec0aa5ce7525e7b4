/** What the Workers entry imports that no package describes: modules of the bundle, and the runtime's own. */
declare module 'cloudflare:workers' {
  export class DurableObject {
    protected readonly ctx: {
      readonly storage: {
        get<Value>(key: string): Promise<Value | undefined>;
        put<Value>(key: string, value: Value): Promise<void>;
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
