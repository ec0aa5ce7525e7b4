/** Downloads over HTTP into a file: resumed where it broke off, checked, and put in place in one step. */
import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isExpected, WrongFile } from './checksum.ts';
import type { Expected } from './manifest.ts';

/** Milliseconds without a byte after which a download is given up. */
const stallMs = 60_000;
const attemptsMax = 3;

/** Called with the bytes that are there and those that there will be. */
export type OnBytes = (done: number, total: number) => void;

/** One attempt. Continues a partial file where the server can. */
async function attempt(
  url: string,
  partial: string,
  expected: Expected,
  onBytes: OnBytes,
  given: AbortSignal | undefined,
): Promise<void> {
  const there = (await stat(partial).catch(() => null))?.size ?? 0;
  const resumed = there > 0 && there < expected.bytes;
  const abort = new AbortController();
  const giveUp = () => abort.abort();
  given?.addEventListener('abort', giveUp);
  let timer = setTimeout(() => abort.abort(), stallMs);
  try {
    const headers: Record<string, string> = resumed ? { range: `bytes=${there}-` } : {};
    const response = await fetch(url, { headers, signal: abort.signal });
    if (!response.ok || response.body === null) throw new Error(`the server answered ${response.status}`);
    const continues = response.status === 206;
    let done = continues ? there : 0;
    const counted = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream).on('data', (chunk) => {
      done += chunk.length;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), stallMs);
      onBytes(done, expected.bytes);
      // A server that sends more than the manifest says does not send what is meant.
      if (done > expected.bytes) abort.abort();
    });
    await pipeline(counted, createWriteStream(partial, { flags: continues ? 'a' : 'w' }));
  } finally {
    clearTimeout(timer);
    given?.removeEventListener('abort', giveUp);
  }
}

/**
 * Downloads `url` to `path`. Tries a few times, each from where the last broke off; a file with another checksum is
 * removed and counts as a failed try. Throws with the last reason. `signal` gives it up; the part stays for next time.
 */
export async function download(
  url: string,
  path: string,
  expected: Expected,
  onBytes: OnBytes,
  signal?: AbortSignal,
): Promise<void> {
  const partial = `${path}.partial`;
  let reason = 'it was given up';
  for (let tried = 0; tried < attemptsMax && signal?.aborted !== true; tried += 1) {
    try {
      await attempt(url, partial, expected, onBytes, signal);
      if (await isExpected(partial, expected)) return await rename(partial, path);
      const size = (await stat(partial)).size;
      reason = `it has ${size} of ${expected.bytes} bytes, or other contents than the manifest says`;
      if (size >= expected.bytes) await rm(partial, { force: true });
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new WrongFile(`${new URL(url).pathname.split('/').at(-1)} could not be downloaded: ${reason}.`);
}
