/**
 * The product's settings, read once at the edge of the program and parsed into a typed value. The core never reads the
 * environment. An unusable setting stops the start with a sentence that names it.
 */
import { z } from 'zod';

/** Whether the tenants' words may go to `address`: TLS everywhere, plain HTTP only on the machine itself. */
export function isAllowedAddress(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, username } = new URL(address);
  if (username !== '') return false;
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && isLoopback);
}

/** A list of words divided by commas; blanks are dropped. */
const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  );

const addresses = list.refine((all) => all.every(isAllowedAddress), {
  error: 'must be https:// addresses (http:// only for this machine), without a user name, divided by commas',
});

const withoutSlash = (address: string): string => address.replace(/\/+$/, '');

/** An empty variable means the same as an absent one: that is how shells and dashboards unset. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

/** A certificate or a key as text. Dashboards and files of variables write its line breaks as `\n`. */
const pem = z
  .string()
  .transform((text) => text.replaceAll('\\n', '\n'))
  .refine((text) => text.trimStart().startsWith('-----BEGIN '), 'must be PEM: it begins with -----BEGIN');

const environmentSchema = z.object({
  DATABASE_URL: optional(z.string()),
  UPSTASH_REDIS_REST_URL: optional(z.url()),
  UPSTASH_REDIS_REST_TOKEN: optional(z.string()),
  ANONYMOUS_TENANT_ID: optional(z.uuid()),
  UPSTREAM_BASE_URL: addresses,
  UPSTREAM_API_KEY: optional(z.string()),
  UPSTREAM_MODELS: list,
  SEARCH_WEBHOOKS: addresses,
  SEARCH_WEBHOOK_SECRET: optional(z.string().min(16)),
  POOL_DIRECTORY_URL: addresses,
  POOL_CERTIFICATE: optional(pem),
  POOL_KEY: optional(pem),
  POOL_AUTHORITY: optional(pem),
  SUPABASE_URL: optional(z.url()),
  SUPABASE_ANON_KEY: optional(z.string()),
  SUPABASE_SERVICE_ROLE_KEY: optional(z.string()),
  MODEL_BUCKET: optional(z.string()),
  MODEL_FOLDER: optional(z.string()),
  NEON_PROXY: optional(z.string()),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(z.url()),
  OTEL_EXPORTER_OTLP_HEADERS: optional(z.string()),
  OTEL_SERVICE_NAME: z.string().default('treeline-edge'),
});

/** The settings of one deployment. See `docs/CONFIGURATION.md` for each variable. */
export interface Configuration {
  /** Connection string of Postgres; null means that none was given. */
  readonly databaseUrl: string | null;
  readonly redis: { readonly url: string; readonly token: string } | null;
  /** Requests without a key act as this tenant. For local use: never set it on a public address. */
  readonly anonymousTenantId: string | null;
  readonly upstream: {
    /** Replicas of one OpenAI-compatible service, each up to and including its `/v1`. */
    readonly baseUrls: readonly string[];
    readonly apiKey: string | null;
    /** Models to list; an empty list passes every model name on. */
    readonly models: readonly string[];
  };
  readonly search: {
    /** Addresses that may score answers; one that ends in a slash allows all below it. */
    readonly webhooks: readonly string[];
    /** What calls of them are signed with; null: they are not. */
    readonly webhookSecret: string | null;
  };
  readonly pool: {
    /** Addresses that tell of the pool's nodes: any nodes, or a directory's door. Empty: there is no pool. */
    readonly directoryUrls: readonly string[];
    /** What nodes ask for, as PEM, on hosts whose `fetch` takes it: our certificate and key, and who signed theirs. */
    readonly tls: {
      readonly certificate: string | null;
      readonly key: string | null;
      readonly authority: string | null;
    } | null;
  };
  readonly supabase: {
    readonly url: string;
    readonly key: string | null;
    readonly modelBucket: string | null;
  } | null;
  /** Folder of the weights, on hosts that have a disk; null: the default of the host. */
  readonly modelFolder: string | null;
  /** `host:port` of a WebSocket proxy for Neon's driver, where it is not Neon's own. */
  readonly neonProxy: string | null;
  readonly telemetry: {
    readonly serviceName: string;
    readonly otlpEndpoint: string | null;
    readonly otlpHeaders: Readonly<Record<string, string>>;
  };
}

/** A percent-encoded value, or the text itself where it is not one. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `name=value` pairs divided by commas, values percent-encoded: OpenTelemetry's form of headers in the environment. */
function parseHeaders(text = ''): Record<string, string> {
  const pairs = text.split(',').map((pair) => /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(pair));
  return Object.fromEntries(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1], decoded(pair[2] ?? '')]])));
}

function poolTls(variables: z.infer<typeof environmentSchema>): Configuration['pool']['tls'] {
  const { POOL_CERTIFICATE: certificate, POOL_KEY: key, POOL_AUTHORITY: authority } = variables;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new Error('Unusable configuration: POOL_CERTIFICATE and POOL_KEY go together');
  }
  if (certificate === undefined && authority === undefined) return null;
  return { certificate: certificate ?? null, key: key ?? null, authority: authority ?? null };
}

/**
 * Parses the environment's variables.
 * @throws Error that names each unusable variable, without its value, since it may be a secret.
 */
export function parseConfiguration(environment: Record<string, unknown>): Configuration {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const reasons = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`Unusable configuration: ${reasons.join('; ')}`);
  }
  const variables = parsed.data;
  const { UPSTASH_REDIS_REST_URL: redisUrl, UPSTASH_REDIS_REST_TOKEN: redisToken } = variables;
  if ((redisUrl === undefined) !== (redisToken === undefined)) {
    throw new Error('Unusable configuration: UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN go together');
  }
  return {
    databaseUrl: variables.DATABASE_URL ?? null,
    redis: redisUrl !== undefined && redisToken !== undefined ? { url: redisUrl, token: redisToken } : null,
    anonymousTenantId: variables.ANONYMOUS_TENANT_ID ?? null,
    upstream: {
      baseUrls: variables.UPSTREAM_BASE_URL.map(withoutSlash),
      apiKey: variables.UPSTREAM_API_KEY ?? null,
      models: variables.UPSTREAM_MODELS,
    },
    search: { webhooks: variables.SEARCH_WEBHOOKS, webhookSecret: variables.SEARCH_WEBHOOK_SECRET ?? null },
    pool: { directoryUrls: variables.POOL_DIRECTORY_URL.map(withoutSlash), tls: poolTls(variables) },
    supabase:
      variables.SUPABASE_URL === undefined
        ? null
        : {
            url: variables.SUPABASE_URL,
            key: variables.SUPABASE_SERVICE_ROLE_KEY ?? variables.SUPABASE_ANON_KEY ?? null,
            modelBucket: variables.MODEL_BUCKET ?? null,
          },
    modelFolder: variables.MODEL_FOLDER ?? null,
    neonProxy: variables.NEON_PROXY ?? null,
    telemetry: {
      serviceName: variables.OTEL_SERVICE_NAME,
      otlpEndpoint: variables.OTEL_EXPORTER_OTLP_ENDPOINT ?? null,
      otlpHeaders: parseHeaders(variables.OTEL_EXPORTER_OTLP_HEADERS),
    },
  };
}
