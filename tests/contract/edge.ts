/** The product as a client sees it: an address, a key, and calls. */
import type { EdgeHost } from '../../infra/local/edge-part.ts';

/** The product that is under test, as `tests/support/on-edge.ts` names it. */
export interface RunningEdge {
  readonly host: EdgeHost;
  /** Without a slash at the end. */
  readonly url: string;
  readonly key: string;
  readonly tenantId: string;
  readonly databaseUrl: string;
  readonly storeUrl: string;
  readonly storeToken: string;
  readonly log: string;
  /** Where the edge looks for its chat upstream. */
  readonly upstreamPort: number;
  /** Where the edge looks for its inference pool. */
  readonly poolPort: number;
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set: run through tests/support/on-edge.ts`);
  return value;
}

/** Reads the `TREELINE_*` variables. */
export function runningEdge(): RunningEdge {
  return {
    host: variable('TREELINE_HOST') === 'supabase' ? 'supabase' : 'workers',
    url: variable('TREELINE_URL'),
    key: variable('TREELINE_KEY'),
    tenantId: variable('TREELINE_TENANT_ID'),
    databaseUrl: variable('TREELINE_DATABASE_URL'),
    storeUrl: variable('TREELINE_STORE_URL'),
    storeToken: variable('TREELINE_STORE_TOKEN'),
    log: variable('TREELINE_LOG'),
    upstreamPort: Number(variable('TREELINE_UPSTREAM_PORT')),
    poolPort: Number(variable('TREELINE_POOL_PORT')),
  };
}

/** One call. A body that is no string, bytes or stream is sent as JSON; `key: null` sends none. */
export interface Call {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly key?: string | null;
  readonly signal?: AbortSignal;
}

const isRaw = (body: unknown): body is BodyInit =>
  typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream;

/** Calls of an edge at `url`, by default with `key`. */
export class EdgeClient {
  readonly #url: string;
  readonly #key: string | null;

  constructor(url: string, key: string | null) {
    this.#url = url;
    this.#key = key;
  }

  async call(path: string, call: Call = {}): Promise<Response> {
    const key = call.key === undefined ? this.#key : call.key;
    const headers = {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...call.headers,
    };
    const body = call.body === undefined || isRaw(call.body) ? call.body : JSON.stringify(call.body);
    return fetch(this.#url + path, {
      method: call.method ?? (call.body === undefined ? 'GET' : 'POST'),
      headers,
      body: body as BodyInit | undefined,
      duplex: 'half',
      redirect: 'manual',
      signal: call.signal ?? null,
    } as RequestInit);
  }

  /** The answer's status and JSON body. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what an answer claims to be, and its expectations check it.
  async json(path: string, call: Call = {}): Promise<{ status: number; headers: Headers; body: any }> {
    const response = await this.call(path, call);
    return { status: response.status, headers: response.headers, body: await response.json() };
  }

  /** The vectors for `input`. */
  async embed(input: unknown, more: Record<string, unknown> = {}, call: Call = {}): Promise<number[][]> {
    const { status, body } = await this.json('/v1/embeddings', { ...call, body: { model, input, ...more } });
    if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
    return body.data.map(({ embedding }: { embedding: number[] }) => embedding);
  }
}

/** The model that most tests ask. */
export const model = 'all-minilm-l6-v2';

/** The edge under test, called with its key. */
export const edge = (): EdgeClient => new EdgeClient(runningEdge().url, runningEdge().key);

/** Cosine of two vectors of any length. */
export function cosine(left: readonly number[], right: readonly number[]): number {
  const dot = left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
  return dot / (Math.hypot(...left) * Math.hypot(...right));
}

/** A text that nobody has asked before, so that no cache knows it. */
export const freshText = (): string => `unseen ${crypto.randomUUID()}`;
