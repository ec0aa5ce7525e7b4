/**
 * Every way in which a request can fail, as a closed list, and the one place where a failure becomes an answer. Inside,
 * errors are rich; outside there is one stable code and one safe sentence.
 */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { SqlError, SqlUnavailable } from './ports.ts';
import { WasmTrapped } from './wasm/instance.ts';

/** Status and title of each code. The titles never change with the request; details do. */
const failures = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  missing_api_key: { status: 401, title: 'An API key is needed' },
  invalid_api_key: { status: 401, title: 'The API key is not valid' },
  forbidden: { status: 403, title: 'The key may not do this' },
  route_not_found: { status: 404, title: 'There is nothing at this address' },
  model_not_found: { status: 404, title: 'There is no such model' },
  search_not_found: { status: 404, title: 'There is no such search, or no longer' },
  experiment_not_found: { status: 404, title: 'There is no such experiment' },
  job_not_found: { status: 404, title: 'There is no such job, or no longer' },
  trace_not_found: { status: 404, title: 'There is no such trace' },
  method_not_allowed: { status: 405, title: 'The address does not take this method' },
  search_conflict: { status: 409, title: 'The search is not in a state for this' },
  experiment_exists: { status: 409, title: 'There is an experiment of this name' },
  experiment_ended: { status: 409, title: 'The experiment has ended' },
  no_arm: { status: 409, title: 'The experiment has no arm that may be chosen' },
  body_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The body is of a kind that this address does not read' },
  overloaded: { status: 429, title: 'Too much is asked at once; try again' },
  internal: { status: 500, title: 'Something went wrong on our side' },
  computation_failed: { status: 500, title: 'The computation failed and was restarted' },
  unsupported: { status: 501, title: 'This is not supported here' },
  upstream_failed: { status: 502, title: 'The upstream did not give a usable answer' },
  search_failed: { status: 502, title: 'The search came to no answer' },
  upstream_not_configured: { status: 503, title: 'No upstream is configured for this' },
  database_unavailable: { status: 503, title: 'The database cannot be reached' },
  identity_unavailable: { status: 503, title: 'The identity provider cannot be reached' },
  pool_unavailable: { status: 503, title: 'The inference pool cannot be reached' },
  model_unavailable: { status: 503, title: 'The model cannot be loaded' },
  search_loop: { status: 508, title: 'The search would call itself' },
  upstream_timeout: { status: 504, title: 'The upstream took too long' },
} as const satisfies Record<string, { status: number; title: string }>;

/** The stable name of a failure. */
export type FailureCode = keyof typeof failures;

/** Seconds after which a client may try again, sent with every 429 and 503 that names no time of its own. */
const retryAfterSecondsDefault = 2;

/** A failure that is meant for the client: a code, a sentence, and where in the request it lies. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: FailureCode;
  /** The field at fault, as a path such as `input.2`. */
  readonly parameter: string | null;
  /** Seconds after which the same request may succeed, where that is known. */
  readonly retryAfterSeconds: number | null;

  constructor(
    code: FailureCode,
    detail?: string,
    options: { parameter?: string; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(detail ?? failures[code].title, { cause: options.cause });
    this.code = code;
    this.parameter = options.parameter ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }

  get status(): number {
    return failures[this.code].status;
  }
}

/** Turns anything thrown into the failure that the client may see. What was not foreseen is `internal`. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof SqlUnavailable) return new ApiError('database_unavailable', undefined, { cause: thrown });
  if (thrown instanceof SqlError) return new ApiError('internal', undefined, { cause: thrown });
  if (thrown instanceof WasmTrapped) return new ApiError('computation_failed', undefined, { cause: thrown });
  if (thrown instanceof HTTPException) return fromHttpException(thrown);
  return new ApiError('internal', undefined, { cause: thrown });
}

function fromHttpException(thrown: HTTPException): ApiError {
  switch (thrown.status) {
    case 413:
      return new ApiError('body_too_large', undefined, { cause: thrown });
    case 415:
      return new ApiError('unsupported_media_type', undefined, { cause: thrown });
    default:
      return thrown.status < 500
        ? new ApiError('invalid_request', thrown.message, { cause: thrown })
        : new ApiError('internal', undefined, { cause: thrown });
  }
}

/** OpenAI's clients look at `type` to choose the exception that they raise. */
function openAiType(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** A failure as OpenAI's clients read it: as an answer, or as an event in a stream that has begun. */
export function openAiErrorBody(error: ApiError, traceId: string) {
  const { message, code, parameter } = error;
  return { error: { message, type: openAiType(error.status), param: parameter, code, trace_id: traceId } };
}

/** The body in the dialect of the address: OpenAI under `/v1`, Open Inference under `/v2`, RFC 9457 elsewhere. */
function errorBody(path: string, error: ApiError, traceId: string): { type: string; body: unknown } {
  if (path.startsWith('/v1/')) return { type: 'application/json', body: openAiErrorBody(error, traceId) };
  if (path === '/v2' || path.startsWith('/v2/')) {
    return { type: 'application/json', body: { error: error.message, code: error.code, trace_id: traceId } };
  }
  const body = {
    type: `urn:treeline:failure:${error.code}`,
    title: failures[error.code].title,
    status: error.status,
    detail: error.message,
    instance: path,
    code: error.code,
    trace_id: traceId,
    ...(error.parameter === null ? {} : { parameter: error.parameter }),
  };
  return { type: 'application/problem+json', body };
}

/** The answer for a failure, with the trace id by which it can be found. */
export function errorResponse(context: Context, error: ApiError, traceId: string): Response {
  const { type, body } = errorBody(context.req.path, error, traceId);
  const headers = new Headers({ 'content-type': type });
  if (error.status === 401) headers.set('www-authenticate', 'Bearer realm="treeline"');
  if (error.status === 429 || error.status === 503) {
    headers.set('retry-after', String(error.retryAfterSeconds ?? retryAfterSecondsDefault));
  }
  return new Response(JSON.stringify(body), { status: error.status, headers });
}
