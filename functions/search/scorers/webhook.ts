/**
 * Scores by a service of the deployment's operator: an address from the configured list alone, over TLS, signed, with a
 * bounded time and size, and without following redirects.
 */
import { z } from 'zod';
import { hex } from '../../digest.ts';
import { ApiError } from '../../errors.ts';
import type { Score } from './closeness.ts';

/** Longest time that a webhook may take, in milliseconds. */
export const webhookTimeoutMs = 10_000;
/** Bytes of its answer at most. */
export const webhookBytesMax = 65_536;
/** The header of the signature: `t=<seconds>,v1=<hex of HMAC-SHA-256 of "<seconds>.<body>">`. */
export const signatureHeader = 'treeline-signature';

/** What webhooks a deployment allows, and what it signs its calls with. */
export interface WebhookConfiguration {
  /** Addresses; one that ends in a slash allows all below it. */
  readonly addresses: readonly string[];
  readonly secret: string | null;
}

const replySchema = z.object({ score: z.number().min(0).max(1), feedback: z.string().max(10_000).optional() });

/** Whether `url` is on the list: it, or a list's address that ends in a slash and is its beginning. */
export function isAllowedWebhook(url: string, { addresses }: WebhookConfiguration): boolean {
  if (!URL.canParse(url)) return false;
  const { href, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  return addresses.some((one) => {
    const allowed = new URL(one).href;
    return href === allowed || (allowed.endsWith('/') && href.startsWith(allowed));
  });
}

/** The signature of `body` at `now`. */
export async function signatureOf(secret: string, body: string, now: number): Promise<string> {
  const seconds = Math.floor(now / 1e3);
  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign']);
  const signature = await crypto.subtle.sign('HMAC', key, encoder.encode(`${seconds}.${body}`));
  return `t=${seconds},v1=${hex(new Uint8Array(signature))}`;
}

/** Asks the webhook at `url`. @throws ApiError upstream_failed, upstream_timeout */
export async function byWebhook(
  url: string,
  payload: object,
  { configuration, now, signal }: { configuration: WebhookConfiguration; now: number; signal: AbortSignal },
): Promise<Score> {
  if (!isAllowedWebhook(url, configuration)) throw new ApiError('forbidden', `The webhook ${url} is not allowed here.`);
  const body = JSON.stringify(payload);
  const timeout = AbortSignal.timeout(webhookTimeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(configuration.secret === null
          ? {}
          : { [signatureHeader]: await signatureOf(configuration.secret, body, now) }),
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, timeout]),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new ApiError('upstream_failed', `The webhook answered ${response.status}.`);
    }
    const parsed = replySchema.safeParse(JSON.parse(await boundedText(response)));
    if (!parsed.success) throw new ApiError('upstream_failed', 'The webhook’s answer holds no score from 0 to 1.');
    return { score: parsed.data.score, feedback: parsed.data.feedback ?? '' };
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    if (timeout.aborted) throw new ApiError('upstream_timeout', `The webhook took longer than ${webhookTimeoutMs} ms.`);
    throw new ApiError('upstream_failed', 'The webhook gave no usable answer.', { cause });
  }
}

async function boundedText({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let [text, bytes] = ['', 0];
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) {
    bytes += step.value.byteLength;
    if (bytes > webhookBytesMax) {
      await reader?.cancel();
      throw new ApiError('upstream_failed', `The webhook’s answer is longer than ${webhookBytesMax} bytes.`);
    }
    text += decoder.decode(step.value, { stream: true });
  }
  return text + decoder.decode();
}
