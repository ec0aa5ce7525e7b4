/** What the tests of this folder import from the runtime and from its test plugin. */
declare module 'cloudflare:workers' {
  export const env: {
    readonly SINGLETON: import('../../functions/platforms/singletons-durable.ts').SingletonNamespace;
  };
}

declare module 'cloudflare:test' {
  /** The worker itself, as a client calls it. */
  export const SELF: { fetch(address: string, init?: RequestInit): Promise<Response> };
}
