/**
 * From a credential to a caller. Keys are compared by SHA-256 in the database; what was found is remembered for a short
 * while, so that a revoked key ends within `keyMemoryMs` and a database that is away does not stop known callers.
 */
import { sha256 } from '../digest.ts';
import { ApiError } from '../errors.ts';
import type { Clock, Identity, Sql } from '../ports.ts';
import type { Caller, Credential } from './caller.ts';

/** How long a key that is good is believed without asking again, in milliseconds. */
export const keyMemoryMs = 60_000;
/** How long a wrong key is refused without asking again, in milliseconds. */
export const refusalMemoryMs = 5_000;
/** Keys remembered by one isolate, good and wrong together. */
export const keysRemembered = 4_096;

interface Remembered {
  readonly caller: Caller | null;
  readonly until: number;
}

/** SHA-256 of `key` in lower-case hex, as the table `api_keys` keeps it. */
export const hashKey = (key: string): Promise<string> => sha256(key);

/** Finds out who calls. One an isolate. */
export class Authentication {
  readonly #sql: Sql;
  readonly #identity: Identity | null;
  readonly #clock: Clock;
  readonly #anonymousTenantId: string | null;
  readonly #memory = new Map<string, Remembered>();

  constructor(ports: { sql: Sql; identity: Identity | null; clock: Clock }, anonymousTenantId: string | null) {
    this.#sql = ports.sql;
    this.#identity = ports.identity;
    this.#clock = ports.clock;
    this.#anonymousTenantId = anonymousTenantId;
  }

  /**
   * The caller who shows `credential`.
   * @throws ApiError missing_api_key, invalid_api_key, forbidden, identity_unavailable; SqlUnavailable.
   */
  async authenticate(credential: Credential): Promise<Caller> {
    switch (credential.kind) {
      case 'none':
        return this.#anonymous();
      case 'malformed':
        throw new ApiError('invalid_api_key', 'The credential is neither an API key (tl_…) nor a token.');
      case 'key':
        return this.#byKey(credential.key);
      case 'token':
        return this.#byToken(credential.token);
    }
  }

  #anonymous(): Caller {
    if (this.#anonymousTenantId !== null) return { tenantId: this.#anonymousTenantId, keyId: null };
    throw new ApiError('missing_api_key', 'Send an API key as "Authorization: Bearer tl_…".');
  }

  async #byKey(key: string): Promise<Caller> {
    const hash = await hashKey(key);
    const now = this.#clock.now();
    const remembered = this.#memory.get(hash);
    const fresh = remembered !== undefined && remembered.until > now ? remembered : await this.#ask(hash, now);
    if (fresh.caller === null) throw new ApiError('invalid_api_key', 'The API key is unknown, expired or revoked.');
    return fresh.caller;
  }

  async #ask(hash: string, now: number): Promise<Remembered> {
    const rows = await this.#sql.query<{ key_id: string; tenant_id: string }>(
      'select key_id, tenant_id from treeline.authenticate($1)',
      [hash],
    );
    const [row] = rows;
    const caller = row === undefined ? null : { tenantId: row.tenant_id, keyId: row.key_id };
    const remembered = { caller, until: now + (caller === null ? refusalMemoryMs : keyMemoryMs) };
    const oldest = this.#memory.size >= keysRemembered ? this.#memory.keys().next().value : undefined;
    if (oldest !== undefined) this.#memory.delete(oldest);
    this.#memory.delete(hash);
    this.#memory.set(hash, remembered);
    return remembered;
  }

  async #byToken(token: string): Promise<Caller> {
    if (this.#identity === null) {
      throw new ApiError('invalid_api_key', 'No identity provider is configured: send an API key (tl_…).');
    }
    const claims = await this.#identity.verify(token).catch((cause: unknown) => {
      throw new ApiError('identity_unavailable', undefined, { cause });
    });
    if (claims === null) throw new ApiError('invalid_api_key', 'The token is not valid or has expired.');
    if (claims.tenantId === null) {
      throw new ApiError('forbidden', 'The token has no app_metadata.tenant_id, so it belongs to no tenant.');
    }
    return { tenantId: claims.tenantId, keyId: null };
  }
}
