/** What the services need to know of a request, taken from Hono's context. */
import { cacheWishesOf } from '../cache/cache-status.ts';
import type { RequestContext } from '../environment.ts';
import type { CallContext } from './embedding.ts';

/** The call that `context` is, as the operation `operation`. */
export function callContext(context: RequestContext, operation: string): CallContext {
  return {
    caller: context.get('caller'),
    steps: context.get('steps'),
    background: context.env.background,
    wishes: cacheWishesOf(context.req.header('cache-control')),
    signal: context.req.raw.signal,
    operation,
  };
}
