/** A TCP relay that fails on demand, for tests of what happens when a service goes away. */
import { connect, createServer, type Server, type Socket } from 'node:net';

/** How the relay treats its clients. */
export type Behaviour = 'pass' | 'refuse' | 'hang';

/** A relay on loopback. */
export interface Breakable {
  readonly port: number;
  /** Changes the behaviour, and cuts every connection that there is. */
  become(behaviour: Behaviour): Promise<void>;
  close(): Promise<void>;
}

/** Relays to `targetPort` of loopback. Refusing means that nobody listens; hanging, that nothing is ever answered. */
export async function startBreakable(targetPort: number): Promise<Breakable> {
  const sockets = new Set<Socket>();
  let behaviour: Behaviour = 'pass';
  let server: Server | null = null;
  let port = 0;

  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  function serve(socket: Socket): void {
    keep(socket);
    if (behaviour === 'hang') return;
    const target = connect(targetPort, '127.0.0.1');
    keep(target);
    socket.pipe(target).pipe(socket);
    socket.on('close', () => target.destroy());
    target.on('close', () => socket.destroy());
  }

  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server = createServer(serve);
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        const address = server?.address();
        if (typeof address === 'object' && address !== null) port = address.port;
        resolve();
      });
    });

  const silence = async () => {
    for (const socket of sockets) socket.destroy();
    const listening = server;
    server = null;
    if (listening !== null) await new Promise<void>((resolve) => listening.close(() => resolve()));
  };

  await listen();
  return {
    get port() {
      return port;
    },
    async become(next) {
      behaviour = next;
      await silence();
      if (next !== 'refuse') await listen();
    },
    close: silence,
  };
}
