/**
 * When a call is made again, and after which pause. A call is repeated only where doing it twice is the same as doing it
 * once, and only for failures that say "not now". Pauses grow with full jitter (Brooker, "Exponential Backoff And
 * Jitter", 2015); where the pool names a time itself (`Retry-After`, RFC 9110), that is the shortest pause.
 */
import { Code, ConnectError } from '@connectrpc/connect';

/** Attempts of one call at most, the first one included. */
export const attemptsMaxDefault = 3;
/** Longest pause before the second attempt, in milliseconds; it doubles with each further one. */
export const pauseMsFirst = 100;
/** Longest pause that is waited, in milliseconds. A pool that asks for a longer one is not asked again. */
export const pauseMsMax = 5_000;

/** Calls that may be made twice. `SubmitJob` is one only with an idempotency key, see `isRepeatable`. */
const repeatable = new Set([
  'InferenceService.Infer',
  'InferenceService.Embed',
  'InferenceService.Rerank',
  'InferenceService.Generate',
  'InferenceService.Tokenize',
  'ModelService.ListModels',
  'ModelService.GetModel',
  'ModelService.LoadModel',
  'ModelService.UnloadModel',
  'NodeService.GetNode',
  'NodeService.ListNodes',
  'NodeService.Drain',
  'JobService.GetJob',
  'JobService.WatchJob',
  'JobService.CancelJob',
  'IpcService.Call',
]);

/** A method by the names of its service and itself. */
export interface MethodName {
  readonly name: string;
  readonly parent: { readonly name: string };
}

/** Whether `method` with `message` may be called again after a failure. */
export function isRepeatable({ name, parent }: MethodName, message: unknown): boolean {
  if (repeatable.has(`${parent.name}.${name}`)) return true;
  const key = (message as { idempotencyKey?: unknown }).idempotencyKey;
  return name === 'SubmitJob' && typeof key === 'string' && key !== '';
}

/** Whether `thrown` says that the same call may succeed later, or elsewhere. */
export function isPassing(thrown: unknown): boolean {
  return thrown instanceof ConnectError && (thrown.code === Code.Unavailable || thrown.code === Code.ResourceExhausted);
}

/** Milliseconds that the pool asks its caller to wait; null where it does not say, or says it as a date. */
export function retryAfterMs(thrown: unknown): number | null {
  const text = thrown instanceof ConnectError ? thrown.metadata.get('retry-after') : null;
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) * 1e3 : null;
}

/**
 * The pause after the failed attempt number `attempt` (from 1), or null where the call is not made again. `fraction` is
 * random, in [0, 1).
 */
export function pauseMs(thrown: unknown, attempt: number, fraction: number): number | null {
  if (!isPassing(thrown)) return null;
  const asked = retryAfterMs(thrown) ?? 0;
  // Overload without a time is not to be made worse: another node, or the client, decides.
  if (asked > pauseMsMax) return null;
  return Math.max(asked, fraction * Math.min(pauseMsMax, pauseMsFirst * 2 ** (attempt - 1)));
}
