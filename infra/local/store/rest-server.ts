/** Upstash's REST protocol on loopback, in front of the embedded store or a real Redis. */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { loopback } from '../ports.ts';
import type { Command, Executor, Reply } from './reply.ts';
import type { StoreServer } from './resp-server.ts';

/** Bytes of a request's body, at most. */
export const bodyBytesMax = 16 * 1024 * 1024;
/** Commands of one pipeline or transaction, at most. */
export const commandsMax = 1_000;

/** The request cannot be served; the message goes to whoever sent it. */
class BadRequest extends Error {
  readonly status: number;
  constructor(message: string, status = 400) {
    super(message);
    this.status = status;
  }
}

type Json = string | number | null | Json[];

/** Upstash gives texts in base64 where asked, so that bytes survive JSON; `OK` stays as it is. */
function toJson(reply: Reply, base64: boolean): Json {
  switch (reply.kind) {
    case 'status':
      return base64 && reply.text !== 'OK' ? Buffer.from(reply.text).toString('base64') : reply.text;
    case 'integer':
      return Number.isSafeInteger(Number(reply.value)) ? Number(reply.value) : String(reply.value);
    case 'bulk':
      return reply.value === null ? null : Buffer.from(reply.value).toString(base64 ? 'base64' : 'utf8');
    case 'array':
      return reply.items.map((item) => toJson(item, base64));
    case 'error':
      return reply.text;
  }
}

function toBody(reply: Reply, base64: boolean): { error: string } | { result: Json } {
  return reply.kind === 'error' ? { error: reply.text } : { result: toJson(reply, base64) };
}

function toParameter(value: unknown): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value);
  if (typeof value === 'object') return Buffer.from(JSON.stringify(value));
  return Buffer.from(String(value));
}

function toCommand(value: unknown): Command {
  if (!Array.isArray(value) || value.length === 0) throw new BadRequest('ERR empty command');
  return value.map(toParameter);
}

function toCommands(value: unknown): Command[] {
  if (!Array.isArray(value) || value.length === 0) throw new BadRequest('ERR empty pipeline');
  if (value.length > commandsMax) throw new BadRequest(`ERR more than ${commandsMax} commands`);
  return value.map(toCommand);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadRequest('ERR failed to parse the request: it is no JSON');
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > bodyBytesMax) throw new BadRequest(`ERR the body has more than ${bodyBytesMax} bytes`, 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A command written in the path, such as `/set/key?EX=10` with the value as the body. */
function commandOfPath(segments: readonly string[], url: URL, body: string): Command {
  const words = [...segments];
  if (body !== '') words.push(body);
  for (const [name, value] of url.searchParams) {
    if (name !== '_token') words.push(name, ...(value === '' ? [] : [value]));
  }
  return words.map((word) => Buffer.from(word));
}

function isAllowed(request: IncomingMessage, url: URL, token: string): boolean {
  const header = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  const given = Buffer.from(header === '' ? (url.searchParams.get('_token') ?? '') : header);
  const expected = Buffer.from(token);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function segmentsOf(url: URL): string[] {
  try {
    return url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new BadRequest('ERR the path is not well encoded');
  }
}

async function answer(request: IncomingMessage, executor: Executor, token: string): Promise<unknown> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (!isAllowed(request, url, token)) throw new BadRequest('WRONGPASS invalid or missing auth token', 401);
  const base64 = request.headers['upstash-encoding'] === 'base64';
  const segments = segmentsOf(url);
  const body = await readBody(request);
  if (segments[0] === 'pipeline') {
    const replies = await Promise.all(toCommands(parseJson(body)).map((command) => executor.execute(command)));
    return replies.map((reply) => toBody(reply, base64));
  }
  if (segments[0] === 'multi-exec') {
    const replies = await executor.executeTogether(toCommands(parseJson(body)));
    return replies.map((reply) => toBody(reply, base64));
  }
  const command = segments.length > 0 ? commandOfPath(segments, url, body) : toCommand(parseJson(body));
  const reply = await executor.execute(command);
  if (reply.kind === 'error') throw new BadRequest(reply.text);
  return toBody(reply, base64);
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  executor: Executor,
  token: string,
): Promise<void> {
  let status = 200;
  let body: unknown;
  try {
    body = await answer(request, executor, token);
  } catch (error) {
    status = error instanceof BadRequest ? error.status : 500;
    body = { error: error instanceof Error ? error.message : 'ERR unknown' };
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function closing(server: Server, executor: Executor): Promise<void> {
  return new Promise<void>((resolve) => {
    server.closeAllConnections();
    server.close(() => resolve());
  }).then(() => executor.close());
}

/** Serves `executor` on `port` of loopback to those who have `token`. Closing it closes the executor as well. */
export function startRestServer(executor: Executor, port: number, token: string): Promise<StoreServer> {
  const server = createServer((request, response) => void respond(request, response, executor, token));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, loopback, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      resolve({ port: bound, close: () => closing(server, executor) });
    });
  });
}
