/** `POST /api/v1/ipc/call`: the boundary between the pool's server and its engine, called and measured through the edge. */
import { Buffer } from 'node:buffer';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { createRoute, z } from '@hono/zod-openapi';
import { boundJson } from '../body.ts';
import { createRouter, failures, security } from '../openapi.ts';
import { EngineStatsSchema } from '../pool-client/gen/engine_pb.js';
import type { IpcCallResponse } from '../pool-client/gen/services_pb.js';
import { traceparentOf } from '../telemetry/tracing.ts';
import type { Pool } from './pool/pool.ts';

/** Longest time for one call, in milliseconds. */
const ipcTimeoutMs = 30_000;
/** Names as in the contract, and all of them: the same as the pool's own door shows. */
const statsForm = { useProtoFieldName: true, alwaysEmitImplicit: true };

/** Bytes in JSON, as the pool's own door has them: a string where they are text, else an object. */
const dataSchema = z.union([z.string(), z.object({ base64: z.base64() })]);

const ipcRequest = z
  .object({
    operation: z.enum(['echo', 'sum', 'embed', 'stats']),
    data: dataSchema.default(''),
    model: z.string().max(200).default(''),
  })
  .openapi('IpcCall', { example: { operation: 'echo', data: 'test', model: '' } });

const ipcResponse = z
  .object({
    operation: z.string(),
    data: dataSchema.optional().openapi({ description: 'Of echo: the same bytes' }),
    result: z
      .unknown()
      .optional()
      .openapi({ description: 'Of sum a number, of embed a vector, of stats the statistics' }),
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
function shownBytes(bytes: Uint8Array): z.infer<typeof dataSchema> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') };
  }
}

/** What an operation answered, in JSON. The bytes are the engine's: little-endian, or a message. */
function shownAnswer({ operation, data }: IpcCallResponse): { data?: z.infer<typeof dataSchema>; result?: unknown } {
  const bytes = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (operation) {
    case 'sum':
      return { result: bytes.byteLength === 8 ? Number(bytes.getBigUint64(0, true)) : null };
    case 'embed': {
      const vector = Array.from({ length: data.byteLength / 4 }, (_, at) => bytes.getFloat32(4 * at, true));
      return { result: { dimensions: vector.length, vector } };
    }
    case 'stats':
      return { result: toJson(EngineStatsSchema, fromBinary(EngineStatsSchema, data), statsForm) };
    default:
      return { data: shownBytes(data) };
  }
}

/** Mounts it. */
export function ipcRoute({ pool }: { readonly pool: Pool }) {
  return createRouter().openapi(route, async (context) => {
    const { operation, data, model } = context.req.valid('json');
    const bytes =
      typeof data === 'string' ? new TextEncoder().encode(data) : Uint8Array.from(Buffer.from(data.base64, 'base64'));
    const answer = await context.get('steps').run('pool', (span) => {
      const { signal } = context.req.raw;
      const bounds = { signal, traceparent: traceparentOf(span), timeoutMs: ipcTimeoutMs };
      const call = { ...bounds, wanted: null, key: null, background: context.env.background };
      return pool.call(call, (client, options) => client.ipc.call({ operation, data: bytes, model }, options));
    });
    const { transport, bytesCopied, elapsedNs } = answer;
    const measured = { transport, bytes_copied: Number(bytesCopied), elapsed_ns: Number(elapsedNs) };
    return context.json({ operation: answer.operation, ...shownAnswer(answer), ...measured }, 200);
  });
}
