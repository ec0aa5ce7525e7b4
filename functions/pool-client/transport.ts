/**
 * How calls reach one node of the pool: the Connect protocol in binary over the host's own `fetch`, which is the same in
 * workerd, Deno and Node. Every failure leaves here as a `ConnectError` with the code that callers decide by.
 */
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';

/** Bytes of an answer that is read as a whole. Answers that stream are bounded message by message by their readers. */
export const answerBytesMax = 32 * 1_048_576;

/** The transport to the node at `baseUrl`. `fetch` is called as a plain function. */
export function nodeTransport(baseUrl: string, fetch: typeof globalThis.fetch): Transport {
  return createConnectTransport({ baseUrl, useBinaryFormat: true, fetch: boundedFetch(fetch) });
}

/**
 * `fetch` as the pool needs it: no redirect is followed (it would take the tenant's words to an address that no directory
 * named), a node that cannot be reached is `unavailable`, and an answer that is too large is cut off.
 */
function boundedFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: 'manual' }).catch((cause: unknown) => {
      init?.signal?.throwIfAborted();
      throw new ConnectError('The node could not be reached.', Code.Unavailable, undefined, undefined, cause);
    });
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw new ConnectError('The node answered with a redirect, which is not followed.', Code.Unavailable);
    }
    const streams = response.headers.get('content-type')?.startsWith('application/connect+') === true;
    return streams || response.body === null ? response : bounded(response, response.body);
  };
}

function bounded(response: Response, body: ReadableStream<Uint8Array<ArrayBuffer>>): Response {
  let length = 0;
  const counted = body.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        length += chunk.byteLength;
        if (length <= answerBytesMax) controller.enqueue(chunk);
        else controller.error(new ConnectError('The node’s answer is too large.', Code.Internal));
      },
    }),
  );
  return new Response(counted, { status: response.status, headers: response.headers });
}

/** `thrown` as a `ConnectError`: what broke off in the middle is `unavailable`, unless the caller or a deadline ended it. */
export function connectErrorOf(thrown: unknown, signal: AbortSignal | undefined): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  if (thrown instanceof DOMException && thrown.name === 'TimeoutError') {
    return new ConnectError('The deadline has passed.', Code.DeadlineExceeded, undefined, undefined, thrown);
  }
  if (signal?.aborted === true || (thrown instanceof DOMException && thrown.name === 'AbortError')) {
    return new ConnectError('The call was given up.', Code.Canceled, undefined, undefined, thrown);
  }
  return new ConnectError('The node broke the answer off.', Code.Unavailable, undefined, undefined, thrown);
}
