import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { expect, test } from 'vitest';
import { ApiError, errorResponse, type FailureCode, toApiError } from './errors.ts';
import { SqlError, SqlUnavailable } from './ports.ts';
import { WasmTrapped } from './wasm/instance.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

/** The answer that a request to `path` gets for `error`. */
async function answer(path: string, error: ApiError) {
  const app = new Hono().all('*', (context) => errorResponse(context, error, traceId));
  const response = await app.request(path);
  return { response, body: await response.json() };
}

test.each([
  ['/v1/embeddings', 'invalid_request', 'invalid_request_error'],
  ['/v1/embeddings', 'missing_api_key', 'authentication_error'],
  ['/v1/embeddings', 'forbidden', 'permission_error'],
  ['/v1/embeddings', 'model_not_found', 'not_found_error'],
  ['/v1/chat/completions', 'upstream_timeout', 'server_error'],
] satisfies [string, FailureCode, string][])('%s speaks OpenAI: %s is a %s', async (path, code, type) => {
  const { response, body } = await answer(path, new ApiError(code, 'A sentence.', { parameter: 'input.2' }));
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(body).toEqual({ error: { message: 'A sentence.', type, param: 'input.2', code, trace_id: traceId } });
});

test.each(['/v2', '/v2/models/x/infer'])('%s speaks Open Inference', async (path) => {
  const { response, body } = await answer(path, new ApiError('model_not_found', 'A sentence.'));
  expect(response.status).toBe(404);
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(body).toEqual({ error: 'A sentence.', code: 'model_not_found', trace_id: traceId });
});

test.each(['/infer', '/metrics', '/v2x', '/'])('%s speaks problem details', async (path) => {
  const { response, body } = await answer(path, new ApiError('invalid_request', 'A sentence.', { parameter: 'input' }));
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(body).toEqual({
    type: 'urn:treeline:failure:invalid_request',
    title: 'The request is not valid',
    status: 400,
    detail: 'A sentence.',
    instance: path,
    code: 'invalid_request',
    trace_id: traceId,
    parameter: 'input',
  });
});

test('a 401 says how to authenticate, a 503 when to come back', async () => {
  const refused = await answer('/v1/models', new ApiError('invalid_api_key'));
  expect(refused.response.headers.get('www-authenticate')).toContain('Bearer');
  const away = await answer('/v1/models', new ApiError('database_unavailable'));
  expect(Number(away.response.headers.get('retry-after'))).toBeGreaterThan(0);
});

test.each([
  [new SqlUnavailable('connect 10.1.2.3:5432'), 'database_unavailable', 503],
  [new SqlError('relation secret_table does not exist', '42P01'), 'internal', 500],
  [new WasmTrapped('inference', 1, new Error('unreachable at 0x1234')), 'computation_failed', 500],
  [new HTTPException(413, { message: 'large' }), 'body_too_large', 413],
  [new HTTPException(415, { message: 'kind' }), 'unsupported_media_type', 415],
  [new HTTPException(400, { message: 'Malformed JSON in request body' }), 'invalid_request', 400],
  [new HTTPException(502, { message: '10.1.2.3' }), 'internal', 500],
  [new TypeError('10.1.2.3 is not iterable'), 'internal', 500],
  ['10.1.2.3', 'internal', 500],
  [undefined, 'internal', 500],
])('%s becomes %s with status %i', (thrown, code, status) => {
  const error = toApiError(thrown);
  expect([error.code, error.status]).toEqual([code, status]);
  expect(error.message).not.toMatch(/10\.1\.2\.3|secret_table|0x1234/);
});

test('an error that is meant for the client goes through as it is', () => {
  const error = new ApiError('forbidden', 'No.');
  expect(toApiError(error)).toBe(error);
});
