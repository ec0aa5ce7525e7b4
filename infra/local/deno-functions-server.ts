/**
 * Serves the functions of `supabase/functions/` under Deno, at the addresses that Supabase gives them:
 * `/functions/v1/<name>/…`. Each function calls `Deno.serve` as it does on Supabase; here that only tells its handler.
 * Port: `FUNCTIONS_PORT`, on loopback.
 */

type Handler = (request: Request) => Response | Promise<Response>;
type Serve = (options: { port: number; hostname: string; onListen: () => void }, handler: Handler) => unknown;

/** What is used of Deno here. Not its global type, so that this file is checked with the rest of the project. */
interface DenoRuntime {
  serve: unknown;
  readonly env: { get(name: string): string | undefined };
  readDir(path: URL): AsyncIterable<{ readonly name: string; readonly isDirectory: boolean }>;
}

const deno = (globalThis as unknown as { Deno: DenoRuntime }).Deno;
const root = '/functions/v1';
const folder = new URL('../../supabase/functions/', import.meta.url);

/** Loads each function, and gathers the handler that it hands to `Deno.serve`. */
async function loadFunctions(): Promise<Map<string, Handler>> {
  const handlers = new Map<string, Handler>();
  let loading = '';
  deno.serve = (...parameters: unknown[]) => {
    const handler = parameters.find((parameter) => typeof parameter === 'function');
    if (handler !== undefined) handlers.set(loading, handler as Handler);
  };
  for await (const { name, isDirectory } of deno.readDir(folder)) {
    // Supabase's convention: a folder with an underscore is shared code, not a function.
    if (!isDirectory || name.startsWith('_')) continue;
    loading = name;
    await import(new URL(`${name}/index.ts`, folder).href);
  }
  return handlers;
}

function nameOf(pathname: string): string | null {
  return pathname.startsWith(`${root}/`) ? (pathname.slice(root.length + 1).split('/')[0] ?? null) : null;
}

/** The function's view of the request: Supabase takes `/functions/v1` off the address. */
function inner(request: Request, url: URL): Request {
  const address = new URL(url);
  address.pathname = url.pathname.slice(root.length);
  return new Request(address, request);
}

const listen = deno.serve as Serve;
const handlers = await loadFunctions();
const port = Number(deno.env.get('FUNCTIONS_PORT') ?? '54321');

listen(
  { port, hostname: '127.0.0.1', onListen: () => console.log(`functions: ${[...handlers.keys()].join(', ')}`) },
  (request) => {
    const url = new URL(request.url);
    const handler = handlers.get(nameOf(url.pathname) ?? '');
    if (handler === undefined)
      return Response.json({ code: 'NOT_FOUND', message: 'There is no such function.' }, { status: 404 });
    // No `Request` can be made with this method.
    if (request.method === 'TRACE') return new Response(null, { status: 405 });
    return handler(inner(request, url));
  },
);
