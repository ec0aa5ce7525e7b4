/** TCP ports on loopback: whether one is free, and which is. */
import { createServer } from 'node:net';

/** The only address that a local run listens on. */
export const loopback = '127.0.0.1';

function listenOnce(port: number): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(null);
      else reject(error);
    });
    server.listen({ port, host: loopback, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}

/** Whether `port` can be listened on now. */
export async function isPortFree(port: number): Promise<boolean> {
  return (await listenOnce(port)) !== null;
}

/** `preferred` where it is free, else any port that is. Another program may still take it before it is used. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await isPortFree(preferred))) return preferred;
  const port = await listenOnce(0);
  if (port === null) throw new Error('The system has no free TCP port left.');
  return port;
}

/** Ports after a preferred one that are looked at before any other is taken. */
const portsNearby = 20;

/** `preferred` where it is free, else the next free one after it, else any. */
export async function freePortNear(preferred: number): Promise<number> {
  for (let port = preferred; port <= preferred + portsNearby; port += 1) if (await isPortFree(port)) return port;
  return freePort();
}
