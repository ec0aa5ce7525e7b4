/** A door to a TCP service that a test can shut and open: what is behind it goes away and comes back. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort, loopback } from '../../infra/local/ports.ts';

/** Passes connections on to a service while it is open. Shut, it refuses new ones and has cut those that were there. */
export class Door {
  readonly port: number;
  readonly #host: string;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  private constructor(port: number, host: string, targetPort: number) {
    this.port = port;
    this.#host = host;
    this.#targetPort = targetPort;
  }

  /** A shut door to the service at `url`, such as `postgres://user@localhost:5432/name`. */
  static async to(url: string): Promise<Door> {
    const { hostname, port } = new URL(url);
    return new Door(await freePort(), hostname, Number(port));
  }

  /** `url` by way of the door. */
  through(url: string): string {
    const address = new URL(url);
    address.hostname = loopback;
    address.port = String(this.port);
    return address.href.replace(/\/$/, '');
  }

  async open(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer((client) => this.#pass(client));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, loopback, resolve));
    this.#server = server;
  }

  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pass(client: Socket): void {
    const service = connect(this.#targetPort, this.#host);
    for (const [socket, other] of [
      [client, service],
      [service, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
