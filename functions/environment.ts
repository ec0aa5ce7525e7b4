/** What travels with a request through Hono: the host's background work, and what the middleware found out. */
import type { Context } from 'hono';
import type { Background } from './ports.ts';
import type { Steps } from './telemetry/tracing.ts';
import type { Caller } from './tenancy/caller.ts';

/** The generic of every Hono application here. */
export interface Environment {
  Bindings: { background: Background };
  Variables: { steps: Steps; caller: Caller };
}

/** A request's context. */
export type RequestContext = Context<Environment>;
