/**
 * Passes a chat answer on as it comes, whole or as a stream, with one field more in its first object; counts its tokens,
 * and tells how it ended.
 */
import { countsIn, tailLengthMax } from '../gateway/usage-meter.ts';
import { answerLengthMax, answerText } from './answer-text.ts';

/** Bytes at the answer's beginning in which its first object must begin; an answer without one passes as it is. */
const headBytesMax = 16_384;

/** How an answer ended: all of it came, it broke off, or the client left. */
export type AnswerEnd =
  | {
      readonly kind: 'whole';
      readonly tokens: { inputTokens: number | null; outputTokens: number | null };
      /** The first choice's text; null where it was not asked for, or the answer was too long to keep. */
      readonly text: string | null;
    }
  | { readonly kind: 'broken' }
  | { readonly kind: 'left' };

/** `head` with `field` in its first object; null while it has none. */
function withField(head: Uint8Array, isStream: boolean, field: string): Uint8Array | null {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(head);
  const start = isStream ? /^data: ?\{(?=\s*")/m.exec(text) : /^\s*\{(?=\s*")/.exec(text);
  if (start === null) return null;
  const before = new TextEncoder().encode(text.slice(0, start.index + start[0].length)).length;
  return joined(head.subarray(0, before), new TextEncoder().encode(field), head.subarray(before));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

/** The answer with `shown` as its field `treeline`, and its end; with its text, where that `isRead`. */
export function metered(
  response: Response,
  shown: object,
  isRead = false,
): { readonly answered: Response; readonly ended: Promise<AnswerEnd> } {
  const headers = new Headers(response.headers);
  headers.delete('content-length');
  const { status } = response;
  if (response.body === null) {
    const tokens = { inputTokens: null, outputTokens: null };
    return {
      answered: new Response(null, { status, headers }),
      ended: Promise.resolve({ kind: 'whole', tokens, text: null }),
    };
  }
  const isStream = headers.get('content-type')?.includes('event-stream') ?? false;
  const field = `"treeline":${JSON.stringify(shown)},`;
  const decoder = new TextDecoder();
  // Held back until the first object begins; null afterwards.
  let head: Uint8Array | null = response.ok ? new Uint8Array() : null;
  let tail = '';
  let kept: string | null = isRead ? '' : null;
  let broke = false;
  const source = response.body;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      const text = decoder.decode(chunk, { stream: true });
      tail = (tail + text).slice(-tailLengthMax);
      if (kept !== null) kept = kept.length + text.length > answerLengthMax ? null : kept + text;
      if (head === null) return controller.enqueue(chunk);
      head = joined(head, chunk);
      const opened = withField(head, isStream, field);
      if (opened === null && head.length < headBytesMax) return;
      controller.enqueue(opened ?? head);
      head = null;
    },
    flush(controller) {
      if (head !== null && head.length > 0) controller.enqueue(head);
    },
  });
  const watched = watching(source, () => {
    broke = true;
  });
  const ended = watched.pipeTo(writable).then(
    (): AnswerEnd => ({
      ...{ kind: 'whole', tokens: tokensOf(tail) },
      text: kept === null ? null : answerText(kept, isStream),
    }),
    (): AnswerEnd => ({ kind: broke ? 'broken' : 'left' }),
  );
  return { answered: new Response(readable, { status, headers }), ended };
}

/** `source`, telling where it is the source that fails, and not the one who reads. */
function watching(source: ReadableStream<Uint8Array>, onFailure: () => void): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (thrown) {
        onFailure();
        controller.error(thrown);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** The tokens as the answer's end counts them. */
function tokensOf(tail: string): { inputTokens: number | null; outputTokens: number | null } {
  if (!tail.includes('"prompt_tokens"')) return { inputTokens: null, outputTokens: null };
  return countsIn(tail);
}
