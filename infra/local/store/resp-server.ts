/** The embedded store over TCP on loopback, for clients that speak Redis' own protocol. */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { loopback } from '../ports.ts';
import { bulkReply, type Command, type Executor, errorReply, nil, ok, type Reply } from './reply.ts';
import { encodeReply, ProtocolError, RespReader } from './resp.ts';

/** A listening server. */
export interface StoreServer {
  readonly port: number;
  close(): Promise<void>;
}

const connectionsMax = 1_000;
/** Commands that may wait between MULTI and EXEC. */
const queuedMax = 10_000;

/** What one connection has said so far. */
class Session {
  readonly #executor: Executor;
  readonly #password: string;
  #authenticated: boolean;
  #queued: Command[] | null = null;
  #queueBroken = false;

  constructor(executor: Executor, password: string) {
    this.#executor = executor;
    this.#password = password;
    this.#authenticated = password === '';
  }

  async answer(command: Command): Promise<Reply> {
    const name = Buffer.from(command[0] ?? [])
      .toString('utf8')
      .toUpperCase();
    if (name === 'AUTH') return this.#authenticate(command);
    if (name === 'QUIT') return ok;
    if (!this.#authenticated) return errorReply('NOAUTH Authentication required.');
    if (name === 'MULTI' || name === 'EXEC' || name === 'DISCARD') return this.#transaction(name);
    if (this.#queued !== null) return this.#queue(command);
    return connectionCommand(name, command) ?? this.#executor.execute(command);
  }

  #authenticate(command: Command): Reply {
    const given = Buffer.from(command.at(-1) ?? []);
    const expected = Buffer.from(this.#password);
    const equal = given.length === expected.length && timingSafeEqual(given, expected);
    this.#authenticated ||= equal && this.#password !== '';
    return this.#authenticated ? ok : errorReply('WRONGPASS invalid username-password pair or user is disabled.');
  }

  #queue(command: Command): Reply {
    if (this.#queued === null || this.#queued.length >= queuedMax) {
      this.#queueBroken = true;
      return errorReply('ERR too many commands in one transaction');
    }
    this.#queued.push(command);
    return { kind: 'status', text: 'QUEUED' };
  }

  async #transaction(name: 'MULTI' | 'EXEC' | 'DISCARD'): Promise<Reply> {
    if (name === 'MULTI') {
      if (this.#queued !== null) return errorReply('ERR MULTI calls can not be nested');
      this.#queued = [];
      this.#queueBroken = false;
      return ok;
    }
    const queued = this.#queued;
    this.#queued = null;
    if (queued === null) return errorReply(`ERR ${name} without MULTI`);
    if (name === 'DISCARD') return ok;
    if (this.#queueBroken) return errorReply('EXECABORT Transaction discarded because of previous errors.');
    return { kind: 'array', items: await this.#executor.executeTogether(queued) };
  }
}

/** What clients ask about the connection itself when they begin; null for commands on data. */
function connectionCommand(name: string, command: Command): Reply | null {
  if (name === 'CLIENT') return ok;
  if (name === 'COMMAND') return { kind: 'array', items: [] };
  if (name === 'SELECT') {
    const index = Buffer.from(command[1] ?? []).toString('utf8');
    return index === '0' ? ok : errorReply('ERR DB index is out of range: the embedded store has one database');
  }
  if (name === 'WATCH' || name === 'UNWATCH') return errorReply('ERR the embedded store has no WATCH');
  if (name === 'RESET') return { kind: 'status', text: 'RESET' };
  return name === 'CONFIG' ? { kind: 'array', items: [bulkReply(''), nil] } : null;
}

function serve(socket: Socket, executor: Executor, password: string): void {
  const reader = new RespReader();
  const session = new Session(executor, password);
  // Commands of one connection run one after the other, so that replies come in order.
  let turn: Promise<void> = Promise.resolve();
  const reply = async (command: Command) => {
    const answer = await session.answer(command).catch((error: Error) => errorReply(`ERR ${error.message}`));
    if (socket.writable) socket.write(encodeReply(answer));
    const isQuit = Buffer.from(command[0] ?? [])
      .toString('utf8')
      .toUpperCase();
    if (isQuit === 'QUIT') socket.end();
  };
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    try {
      for (const command of reader.push(chunk)) turn = turn.then(() => reply(command));
    } catch (error) {
      const text = error instanceof ProtocolError ? error.message : 'the request cannot be read';
      turn = turn.then(() => void socket.end(encodeReply(errorReply(`ERR Protocol error: ${text}`))));
    }
  });
}

/** Serves `executor` on `port` of loopback. An empty `password` lets everybody in. */
export function startRespServer(executor: Executor, port: number, password: string): Promise<StoreServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, executor, password);
  });
  server.maxConnections = connectionsMax;
  const close = () =>
    new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, loopback, () => {
      const address = server.address();
      resolve({ port: typeof address === 'object' && address !== null ? address.port : port, close });
    });
  });
}
