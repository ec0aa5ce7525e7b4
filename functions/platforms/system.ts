/** Clock, randomness and log from what all hosts share: the web platform's globals. */
import type { Clock, Log, Random } from '../ports.ts';

/** The web platform's clocks. On Workers they stand still between two I/O operations. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
};

/** The host's cryptographic source. */
export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  fraction: () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32,
};

/** One JSON object a line, as log collectors read it. */
export const systemLog: Log = {
  write(level, message, fields = {}) {
    console[level](JSON.stringify({ level, message, ...fields }));
  },
};
