/** `POST /api/v1/ipc/call`: the boundary between the pool's server and its engine, called and measured through the edge. */
import { Buffer } from 'node:buffer';
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import { createRouter, failures, security } from '../openapi.ts';
import { traceparentOf } from '../telemetry/tracing.ts';
import type { Pool } from './pool/pool.ts';

/** Longest time for one call, in milliseconds. */
const ipcTimeoutMs = 30_000;

const ipcRequest = z
  .object({
    operation: z.enum(['echo', 'sum', 'embed', 'stats']),
    data: z.string().optional(),
    data_base64: z.base64().optional().openapi({ description: 'Instead of data, for bytes that are no text' }),
    model: z.string().max(200).optional(),
  })
  .refine(
    ({ data, data_base64 }) => data === undefined || data_base64 === undefined,
    'give data or data_base64, not both',
  )
  .openapi('IpcCall', { example: { operation: 'echo', data: 'test' } });

const ipcResponse = z
  .object({
    operation: z.string(),
    data: z.string().optional(),
    data_base64: z.string().optional().openapi({ description: 'Instead of data, where the bytes are no text' }),
    transport: z.string().openapi({ description: 'ffi, shm or grpc' }),
    bytes_copied: z.int(),
    elapsed_ns: z.int(),
  })
  .openapi('IpcAnswer');

const route = createRoute({
  method: 'post',
  path: '/api/v1/ipc/call',
  summary: 'Call the pool’s engine: echo, sum, embed or stats',
  security,
  middleware: boundJson,
  request: { body: { content: { 'application/json': { schema: ipcRequest } }, required: true } },
  responses: {
    200: { description: 'What it answered, and how', content: { 'application/json': { schema: ipcResponse } } },
    ...failures('problem', 404, 429, 501, 502, 504),
  },
});

/** Bytes as text where they are UTF-8, else in base64. */
function shownData(bytes: Uint8Array): { data: string } | { data_base64: string } {
  try {
    return { data: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { data_base64: Buffer.from(bytes).toString('base64') };
  }
}

/** Mounts it. */
export function ipcRoute({ pool }: { readonly pool: Pool }) {
  return createRouter().openapi(route, async (context) => {
    const { operation, data = '', data_base64: base64, model = '' } = context.req.valid('json');
    const bytes =
      base64 === undefined ? new TextEncoder().encode(data) : Uint8Array.from(Buffer.from(base64, 'base64'));
    const answer = await context.get('steps').run('pool', (span) => {
      const { signal } = context.req.raw;
      const bounds = { signal, traceparent: traceparentOf(span), timeoutMs: ipcTimeoutMs };
      const call = { ...bounds, wanted: null, key: null, background: context.env.background };
      return pool.call(call, (client, options) => client.ipc.call({ operation, data: bytes, model }, options));
    });
    const { transport, bytesCopied, elapsedNs } = answer;
    const measured = { transport, bytes_copied: Number(bytesCopied), elapsed_ns: Number(elapsedNs) };
    return context.json({ operation: answer.operation, ...shownData(answer.data), ...measured }, 200);
  });
}
