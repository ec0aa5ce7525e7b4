/** RESP2, Redis' wire protocol: requests read from a stream of chunks, replies written. */
import type { Command, Reply } from './reply.ts';

/** Parameters of one command, at most. */
export const parametersMax = 10_000;
/** Bytes of one parameter, at most. */
export const parameterBytesMax = 16 * 1024 * 1024;
/** Bytes of one line, at most: of a count, or of an inline command. */
export const lineBytesMax = 64 * 1024;

/** The peer sent what no client of Redis sends; the connection is of no more use. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const newline = Buffer.from('\r\n');

/** Gathers chunks, and hands out each command once it is whole. */
export class RespReader {
  #buffer: Buffer = Buffer.alloc(0);

  /** Takes in `chunk` and returns the commands that it completes. Throws `ProtocolError` on anything else. */
  push(chunk: Uint8Array): Command[] {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    const commands: Command[] = [];
    let offset = 0;
    for (let next = readCommand(this.#buffer, offset); next !== null; next = readCommand(this.#buffer, offset)) {
      if (next.command.length > 0) commands.push(next.command);
      offset = next.end;
    }
    this.#buffer = this.#buffer.subarray(offset);
    return commands;
  }
}

function readLine(buffer: Buffer, offset: number): { text: string; end: number } | null {
  const at = buffer.indexOf(newline, offset);
  const length = (at === -1 ? buffer.length : at) - offset;
  if (length > lineBytesMax) throw new ProtocolError('too big inline request');
  return at === -1 ? null : { text: buffer.toString('utf8', offset, at), end: at + newline.length };
}

function countOf(text: string, most: number, what: string): number {
  const count = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (count < 0 || count > most) throw new ProtocolError(`invalid ${what} length`);
  return count;
}

/** The command at `offset`, or null where it is not whole yet. */
function readCommand(buffer: Buffer, offset: number): { command: Command; end: number } | null {
  const head = readLine(buffer, offset);
  if (head === null) return null;
  if (!head.text.startsWith('*')) {
    const words = head.text.split(' ').filter((word) => word !== '');
    return { command: words.map((word) => Buffer.from(word)), end: head.end };
  }
  const count = countOf(head.text.slice(1), parametersMax, 'multibulk');
  const command: Uint8Array[] = [];
  let at = head.end;
  for (let index = 0; index < count; index += 1) {
    const line = readLine(buffer, at);
    if (line === null) return null;
    if (!line.text.startsWith('$')) throw new ProtocolError(`expected '$', got '${line.text.slice(0, 1)}'`);
    const length = countOf(line.text.slice(1), parameterBytesMax, 'bulk');
    const end = line.end + length;
    if (buffer.length < end + newline.length) return null;
    // A copy: what is kept must not hold the whole chunk in memory.
    command.push(Buffer.from(buffer.subarray(line.end, end)));
    at = end + newline.length;
  }
  return { command, end: at };
}

const lineBreak = /[\r\n]+/g;

/** Writes `reply` as RESP2. */
export function encodeReply(reply: Reply): Buffer {
  switch (reply.kind) {
    case 'status':
      return Buffer.from(`+${reply.text}\r\n`);
    case 'error':
      return Buffer.from(`-${reply.text.replace(lineBreak, ' ')}\r\n`);
    case 'integer':
      return Buffer.from(`:${reply.value}\r\n`);
    case 'bulk':
      if (reply.value === null) return Buffer.from('$-1\r\n');
      return Buffer.concat([Buffer.from(`$${reply.value.byteLength}\r\n`), reply.value, newline]);
    case 'array':
      return Buffer.concat([Buffer.from(`*${reply.items.length}\r\n`), ...reply.items.map(encodeReply)]);
  }
}
