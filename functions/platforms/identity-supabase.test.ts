import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSupabaseIdentity } from './identity-supabase.ts';

const tenantId = '6b1f4f0a-30f5-4a3b-9a51-0f4f4f3c7f11';
const base64url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url');

/** A signing key as a Supabase project has one: ES256, published in its JWKS under a key id. */
async function makeKey(keyId: string) {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const published = { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid: keyId, alg: 'ES256', use: 'sig' };
  return { keyId, published, privateKey: pair.privateKey };
}

type Key = Awaited<ReturnType<typeof makeKey>>;

async function sign(key: Key, claims: Record<string, unknown>): Promise<string> {
  const head = base64url(JSON.stringify({ alg: 'ES256', typ: 'JWT', kid: key.keyId }));
  const text = `${head}.${base64url(JSON.stringify(claims))}`;
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const signature = await crypto.subtle.sign(algorithm, key.privateKey, new TextEncoder().encode(text));
  return `${text}.${base64url(new Uint8Array(signature))}`;
}

const inOneHour = () => Math.floor(Date.now() / 1e3) + 3_600;
const claimsOf = (changes: Record<string, unknown> = {}) => ({
  sub: 'user-1',
  aud: 'authenticated',
  role: 'authenticated',
  exp: inOneHour(),
  app_metadata: { tenant_id: tenantId },
  ...changes,
});

describe('users of Supabase Auth', () => {
  let server: Server;
  let url: string;
  let key: Key;
  let fetches = 0;

  beforeAll(async () => {
    key = await makeKey('key-1');
    server = createServer((request, response) => {
      if (request.url !== '/auth/v1/.well-known/jwks.json') return response.writeHead(404).end();
      fetches += 1;
      return response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ keys: [key.published] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => {
    server.close();
  });

  const identity = () => createSupabaseIdentity({ url, key: null, modelBucket: null });

  it('are known by a token that the published key verifies, and keys are fetched once', async () => {
    const verifier = identity();
    const token = await sign(key, claimsOf());
    const before = fetches;
    expect(await verifier.verify(token)).toEqual({ subject: 'user-1', tenantId });
    expect(await verifier.verify(token)).toEqual({ subject: 'user-1', tenantId });
    expect(fetches - before).toBe(1);
  });

  it('are refused when another key signed under the same key id', async () => {
    const forged = await sign(await makeKey('key-1'), claimsOf());
    expect(await identity().verify(forged)).toBeNull();
  });

  it('are refused when the token has expired or its claims were changed', async () => {
    expect(await identity().verify(await sign(key, claimsOf({ exp: 1_000 })))).toBeNull();
    const [head, , signature] = (await sign(key, claimsOf())).split('.');
    const changed = base64url(JSON.stringify(claimsOf({ sub: 'someone-else' })));
    expect(await identity().verify(`${head}.${changed}.${signature}`)).toBeNull();
  });

  it('belong to no tenant when an administrator gave them none, whatever they wrote into their own metadata', async () => {
    const token = await sign(key, claimsOf({ app_metadata: {}, user_metadata: { tenant_id: tenantId } }));
    expect(await identity().verify(token)).toEqual({ subject: 'user-1', tenantId: null });
  });

  it('cannot be told from others while the provider is away, and that is said', async () => {
    // Another host name, since the client shares keys among clients of one.
    const away = createSupabaseIdentity({ url: 'http://localhost:9', key: null, modelBucket: null });
    await expect(away.verify(await sign(key, claimsOf()))).rejects.toThrow();
  });
});
