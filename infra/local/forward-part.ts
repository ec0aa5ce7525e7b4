/** Further ports that lead to the edge, for clients that look for one service on a port of its own. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { never, type Part } from './part.ts';
import { loopback } from './ports.ts';

function forward(socket: Socket, targetPort: number, sockets: Set<Socket>): void {
  const target = connect(targetPort, loopback);
  for (const end of [socket, target]) {
    sockets.add(end);
    end.setNoDelay(true);
    end.on('error', () => end.destroy());
  }
  socket.pipe(target).pipe(socket);
  socket.on('close', () => {
    target.destroy();
    sockets.delete(socket);
  });
  target.on('close', () => {
    socket.destroy();
    sockets.delete(target);
  });
}

function listen(port: number, targetPort: number, sockets: Set<Socket>): Promise<Server> {
  const server = createServer((socket) => forward(socket, targetPort, sockets));
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be used: ${cause.message}`;
      reject(new Error(`Port ${port} ${reason}.`, { cause }));
    });
    server.listen(port, loopback, () => resolve(server));
  });
}

/** Leads each of `ports` to `targetPort`, all on loopback. Throws where one of them is taken; none stays open then. */
export async function startForwards(ports: readonly number[], targetPort: number): Promise<Part> {
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const stop = async () => {
    for (const socket of sockets) socket.destroy();
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  };
  try {
    for (const port of ports) servers.push(await listen(port, targetPort, sockets));
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: `ports ${ports.join(', ')} lead to the edge`, pid: null, failed: never, stop };
}
