/** The part of Deno and of Supabase's edge runtime that the Supabase entry uses. */
declare namespace Deno {
  const env: { get(name: string): string | undefined; toObject(): Record<string, string> };
  const errors: { NotFound: new () => Error };
  function readFile(path: URL | string): Promise<Uint8Array<ArrayBuffer>>;
  function open(path: URL | string): Promise<{ readable: ReadableStream<Uint8Array> }>;
  function createHttpClient(options: { caCerts?: string[]; cert?: string; key?: string | null }): object;
  function serve(handler: (request: Request) => Response | Promise<Response>): void;
}

declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void } | undefined;
