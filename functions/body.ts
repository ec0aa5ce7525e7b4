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

/** Levels that arrays and objects of a JSON body may lie within each other. */
export const jsonDepthMax = 64;

/**
 * Refuses JSON that is nested deeper than `jsonDepthMax`, before anything is built from it. Brackets inside strings do
 * not count; whether the rest is JSON at all is the parser's to say. One pass without a regular expression, since a
 * string that does not end would make one start over at each of its quotes.
 */
export function checkJsonDepth(text: string): void {
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (isInString) {
      if (character === '\\') index += 1;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    if (depth > jsonDepthMax) {
      throw new ApiError('invalid_request', `JSON may be nested at most ${jsonDepthMax} levels deep.`);
    }
  }
}

/** The JSON value in `bytes`. @throws ApiError invalid_request */
export function parseJson(bytes: Uint8Array): unknown {
  const text = decodeText(bytes);
  checkJsonDepth(text);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ApiError('invalid_request', 'The body is not valid JSON in UTF-8.', { cause });
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError('invalid_request', 'The body is not valid JSON in UTF-8.', { cause });
  }
}

/** Bounds the depth of a JSON body that a route's schema is about to parse. */
export const boundJson: MiddlewareHandler<Environment> = async function boundJson(context, next) {
  if (context.req.header('content-type')?.includes('json') === true) checkJsonDepth(await context.req.text());
  await next();
};

/** Bounds every body that a route reads by itself. A declared length is believed; an undeclared one is counted. */
export function boundBody(): MiddlewareHandler<Environment> {
  return bodyLimit({
    maxSize: bodyBytesMax,
    onError: () => {
      throw tooLarge();
    },
  });
}
