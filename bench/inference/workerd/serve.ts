/** The HTTP face of an engine inside workerd: an order in, an outcome out. The first order loads the model. */
import type { Engine, Order } from '../engine.ts';

/** Bindings of the benchmark's workers: a service that hands out the model files. */
export interface Bindings {
  readonly FILES: { fetch(address: string): Promise<Response> };
}

/** A worker that answers orders with the engine that `load` gives. */
export function serve(load: (bindings: Bindings) => Promise<Engine>) {
  let engine: Promise<Engine> | null = null;
  return {
    async fetch(request: Request, bindings: Bindings): Promise<Response> {
      try {
        const order = (await request.json()) as Order;
        engine ??= load(bindings);
        return Response.json(await (await engine).repeat(order));
      } catch (error) {
        return new Response(error instanceof Error ? (error.stack ?? error.message) : String(error), { status: 500 });
      }
    },
  };
}

/** The file `name` of the service, as a stream. */
export async function open(bindings: Bindings, name: string): Promise<Response> {
  const response = await bindings.FILES.fetch(`http://files/${name}`);
  if (!response.ok) throw new Error(`${name}: status ${response.status}`);
  return response;
}
