/**
 * A local stand-in for Neon's endpoints, in front of any PostgreSQL: queries over HTTP at `/sql`, and Postgres' own
 * protocol over a WebSocket at `/v1?address=host:port`. It speaks what Neon's driver speaks; it is no load balancer.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import pg from 'pg';
import { type WebSocket, WebSocketServer } from 'ws';

/** A listening proxy. */
export interface NeonProxy {
  /** `host:port` on loopback. */
  readonly origin: string;
  /** What it has served so far. */
  served(): { queries: number; webSockets: number };
  close(): Promise<void>;
}

interface Statement {
  readonly query: string;
  readonly params?: unknown[];
}

// Neon answers in Postgres' own texts, and its driver parses them.
const textTypes = { getTypeParser: () => (value: unknown) => value } as unknown as pg.CustomTypesConfig;
const bodyBytesMax = 1024 * 1024;

async function readJson(request: IncomingMessage): Promise<Statement & { queries?: Statement[] }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new Error('The request is too long.');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

async function answerOf(client: pg.PoolClient, { query, params = [] }: Statement, rowAsArray: boolean) {
  const config = { text: query, values: params, types: textTypes };
  const result = await (rowAsArray ? client.query({ ...config, rowMode: 'array' }) : client.query(config));
  const { command, rowCount, fields, rows } = result;
  return { command, rowCount, rowAsArray, fields: fields.map((field) => ({ ...field, format: 'text' })), rows };
}

/** Several statements are one transaction, as with Neon. */
async function runAll(client: pg.PoolClient, statements: readonly Statement[], rowAsArray: boolean) {
  await client.query('begin');
  try {
    const results = [];
    for (const statement of statements) results.push(await answerOf(client, statement, rowAsArray));
    await client.query('commit');
    return { results };
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

async function answerSql(pool: pg.Pool, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const send = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    return send(500, { message: error instanceof Error ? error.message : 'no connection' });
  }
  try {
    const rowAsArray = request.headers['neon-array-mode'] === 'true';
    const body = await readJson(request);
    const { queries } = body;
    send(200, queries ? await runAll(client, queries, rowAsArray) : await answerOf(client, body, rowAsArray));
  } catch (error) {
    const { message, code, severity, detail, hint } = error as pg.DatabaseError;
    send(400, { message, code, severity, detail, hint });
  } finally {
    client.release();
  }
}

/** Passes bytes on between a WebSocket and the server, until either ends. */
function relay(webSocket: WebSocket, host: string, port: number): void {
  const socket = connect(port, host);
  socket.setNoDelay(true);
  const end = () => {
    socket.destroy();
    webSocket.close();
  };
  webSocket.on('message', (data: Buffer) => socket.write(data));
  socket.on('data', (data) => webSocket.send(data));
  for (const source of [socket, webSocket]) {
    source.on('close', end);
    source.on('error', end);
  }
}

/** Starts a proxy on a free port in front of the PostgreSQL at `databaseUrl`, and of no other. */
export function startNeonProxy(databaseUrl: string): Promise<NeonProxy> {
  const { hostname, port } = new URL(databaseUrl);
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 8 });
  pool.on('error', () => undefined);
  const served = { queries: 0, webSockets: 0 };
  const server = createServer((request, response) => {
    served.queries += 1;
    if (request.method === 'POST' && request.url?.startsWith('/sql')) void answerSql(pool, request, response);
    else response.writeHead(404).end();
  });
  const webSockets = new WebSocketServer({ server });
  webSockets.on('connection', (webSocket, request) => {
    served.webSockets += 1;
    const address = new URL(request.url ?? '/', 'http://localhost').searchParams.get('address');
    if (address !== `${hostname}:${port}`) webSocket.close(1008, 'address not allowed');
    else relay(webSocket, hostname, Number(port));
  });
  const close = async () => {
    for (const webSocket of webSockets.clients) webSocket.terminate();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await pool.end();
  };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : 0;
      resolve({ origin: `127.0.0.1:${bound}`, served: () => ({ ...served }), close });
    });
  });
}
