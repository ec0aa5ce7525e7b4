/** The log of a search as server-sent events. */
import type { Entry } from './entries.ts';

/** Longest silence of a stream, in milliseconds; then a comment says that it is alive. */
export const silenceMsMax = 10_000;

/** Events from number `after` on, up to the search's end. `read` gives the next entries, or none after the wait. */
export function eventsOf(read: (from: number, waitMs: number) => Promise<Entry[]>, after: number): Response {
  const encoder = new TextEncoder();
  let next = after;
  let isOver = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (isOver) {
        controller.close();
        return;
      }
      try {
        const entries = await read(next, silenceMsMax);
        if (entries.length === 0) controller.enqueue(encoder.encode(': waiting\n\n'));
        for (const entry of entries) {
          controller.enqueue(encoder.encode(`id: ${next}\nevent: ${entry.type}\ndata: ${JSON.stringify(entry)}\n\n`));
          next += 1;
        }
        isOver = entries.at(-1)?.type === 'finished';
      } catch (thrown) {
        // The client asks again from its last event on.
        controller.error(thrown);
      }
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } });
}
