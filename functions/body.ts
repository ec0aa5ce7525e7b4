/** Reading a request's body within a bound, whatever its encoding. */
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Environment } from './environment.ts';
import { ApiError } from './errors.ts';

/** Bytes of a body, after decompression. */
export const bodyBytesMax = 4 * 1_048_576;

const tooLarge = () => new ApiError('body_too_large', `A body may have at most ${bodyBytesMax} bytes.`);

function decoded(request: Request, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const encoding = request.headers.get('content-encoding')?.toLowerCase() ?? 'identity';
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip' && encoding !== 'deflate') {
    throw new ApiError(
      'unsupported_media_type',
      `Content-Encoding "${encoding.slice(0, 40)}" is not read; gzip and deflate are.`,
    );
  }
  return body.pipeThrough(new DecompressionStream(encoding) as ReadableWritablePair<Uint8Array, Uint8Array>);
}

/**
 * The whole body, decompressed.
 * @throws ApiError body_too_large, unsupported_media_type; invalid_request where it cannot be decompressed.
 */
export async function readBody(request: Request): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = decoded(request, request.body).getReader();
  try {
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      length += step.value.byteLength;
      if (length > bodyBytesMax) throw tooLarge();
      chunks.push(step.value);
    }
  } catch (cause) {
    await reader.cancel().catch(() => {});
    if (cause instanceof ApiError) throw cause;
    throw new ApiError('invalid_request', 'The body broke off or could not be decompressed.', { cause });
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/** The JSON value in `bytes`. @throws ApiError invalid_request */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ApiError('invalid_request', 'The body is not valid JSON in UTF-8.', { cause });
  }
}

/** Bounds every body that a route reads by itself. A declared length is believed; an undeclared one is counted. */
export function boundBody(): MiddlewareHandler<Environment> {
  return bodyLimit({
    maxSize: bodyBytesMax,
    onError: () => {
      throw tooLarge();
    },
  });
}
