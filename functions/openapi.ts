/** Pieces of the OpenAPI document that every capability shares. */
import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Environment } from './environment.ts';
import { ApiError } from './errors.ts';

/** The first fault that a schema found, and where it lies, as a failure that the client may see. */
function invalidRequest({ issues: [issue] }: Pick<z.ZodError, 'issues'>): ApiError {
  const parameter = issue?.path.join('.') ?? '';
  const message = issue?.message ?? 'The request is not valid.';
  if (parameter === '') return new ApiError('invalid_request', message);
  return new ApiError('invalid_request', `${parameter}: ${message}`, { parameter });
}

/** `value` as `schema` reads it, for bodies that a route takes apart by itself. @throws ApiError invalid_request */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidRequest(parsed.error);
}

/** A Hono application whose validation errors are ours. */
export function createRouter(): OpenAPIHono<Environment> {
  return new OpenAPIHono<Environment>({
    defaultHook: (result) => {
      if (!result.success) throw invalidRequest(result.error);
    },
  });
}

const openAiError = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
      trace_id: z.string(),
    }),
  })
  .openapi('OpenAIError');

const openInferenceError = z
  .object({ error: z.string(), code: z.string(), trace_id: z.string() })
  .openapi('OpenInferenceError');

const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    code: z.string(),
    trace_id: z.string(),
    parameter: z.string().optional(),
  })
  .openapi('Problem');

const descriptions: Record<number, string> = {
  400: 'The request is not valid',
  401: 'The credential is missing or not valid',
  403: 'The credential belongs to no tenant',
  404: 'There is no such thing',
  409: 'It conflicts with what is there',
  413: 'The body is too large',
  415: 'The body is of another kind',
  429: 'Too much is asked at once; try again after the time that Retry-After names',
  500: 'Something failed on our side',
  501: 'The pool, or the model, does not do this',
  502: 'The upstream failed',
  503: 'A part that is needed cannot be reached; try again',
  504: 'The upstream took too long',
  508: 'A search would call itself',
};

type Dialect = 'openai' | 'open-inference' | 'problem';

function errorContent(dialect: Dialect) {
  switch (dialect) {
    case 'openai':
      return { 'application/json': { schema: openAiError } };
    case 'open-inference':
      return { 'application/json': { schema: openInferenceError } };
    case 'problem':
      return { 'application/problem+json': { schema: problem } };
  }
}

/** The error responses of a route, in the dialect of its address. */
export function failures(dialect: Dialect, ...statuses: number[]) {
  const content = errorContent(dialect);
  const all = [...new Set([400, 401, 403, 413, 500, 503, ...statuses])];
  return Object.fromEntries(all.map((status) => [status, { description: descriptions[status] ?? '', content }]));
}

/** Every route but the public ones needs one of these. */
export const security: Record<string, string[]>[] = [{ apiKey: [] }, { xApiKey: [] }];
