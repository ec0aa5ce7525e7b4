/** What to say where no route matches: that the address takes other methods (RFC 9110, 405), or that it is none (404). */
import { ApiError } from './errors.ts';

interface Route {
  readonly method: string;
  readonly path: string;
}

/** The pattern of a route's path; `:name` and `{name}` stand for one segment, all else for itself. */
function patternOf(path: string): RegExp {
  const segments = path.split(/(:\w+|\{\w+\})/);
  const parts = segments.map((part, index) =>
    index % 2 === 1 ? '[^/]+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  );
  return new RegExp(`^${parts.join('')}$`);
}

/** Prepares the answer for `routes`; middleware, which match every path, are left out. */
export function missingRoute(routes: readonly Route[]) {
  const patterns = routes
    .filter(({ method, path }) => method !== 'ALL' && !path.includes('*'))
    .map(({ method, path }) => ({ method, pattern: patternOf(path) }));
  return (method: string, path: string): { error: ApiError; allowed: string[] } => {
    const allowed = [
      ...new Set(patterns.filter(({ pattern }) => pattern.test(path)).map((route) => route.method)),
    ].sort();
    const shown = `${method} ${path.slice(0, 200)}`;
    if (allowed.length === 0)
      return { error: new ApiError('route_not_found', `There is nothing at ${shown}.`), allowed };
    const detail = `${shown} is not there; this address takes ${allowed.join(', ')}.`;
    return { error: new ApiError('method_not_allowed', detail), allowed };
  };
}
