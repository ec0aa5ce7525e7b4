import { expect, test } from 'vitest';
import { parseConfiguration } from './configuration.ts';

test('nothing set is a configuration: no database, no store, no upstream, nobody anonymous', () => {
  expect(parseConfiguration({})).toMatchObject({
    databaseUrl: null,
    redis: null,
    anonymousTenantId: null,
    supabase: null,
    upstream: { baseUrls: [], apiKey: null, models: [] },
    telemetry: { otlpEndpoint: null, otlpHeaders: {}, serviceName: 'treeline-edge' },
  });
});

test('an empty variable means the same as an absent one', () => {
  const names = ['DATABASE_URL', 'UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN', 'ANONYMOUS_TENANT_ID'];
  const others = ['UPSTREAM_BASE_URL', 'UPSTREAM_API_KEY', 'SUPABASE_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT'];
  const empty = Object.fromEntries([...names, ...others].map((name) => [name, '']));
  expect(parseConfiguration(empty)).toEqual(parseConfiguration({}));
});

test.each([
  'https://models.example/v1',
  'https://models.example:8443/openai/v1/',
  'http://localhost:8000/v1',
  'http://127.0.0.1:8000/v1',
  'http://[::1]:8000/v1',
])('the upstream %s is taken', (address) => {
  const { upstream } = parseConfiguration({ UPSTREAM_BASE_URL: address });
  expect(upstream.baseUrls).toEqual([address.replace(/\/$/, '')]);
});

test.each([
  ['plain HTTP to another machine', 'http://models.example/v1'],
  ['a name that only begins like this machine', 'http://127.example.com/v1'],
  ['a name that only looks like this machine', 'http://localhost.example.com/v1'],
  ['a user name', 'https://user@models.example/v1'],
  ['a user name and password', 'https://user:secret@models.example/v1'],
  ['another scheme', 'file:///etc/passwd'],
  ['no address', 'models.example'],
  ['one bad address among good ones', 'https://a.example/v1,ftp://b.example'],
])('an upstream is refused: %s', (_, address) => {
  expect(() => parseConfiguration({ UPSTREAM_BASE_URL: address })).toThrow(/UPSTREAM_BASE_URL: must be https/);
});

test('replicas and models are divided by commas, blanks ignored', () => {
  const { upstream } = parseConfiguration({
    UPSTREAM_BASE_URL: ' https://a.example/v1 , https://b.example/v1,',
    UPSTREAM_MODELS: 'one, two ,,three',
  });
  expect(upstream.baseUrls).toEqual(['https://a.example/v1', 'https://b.example/v1']);
  expect(upstream.models).toEqual(['one', 'two', 'three']);
});

test('the pool’s addresses keep the rules of an upstream’s, and its certificate may have its line breaks written out', () => {
  const certificate = '-----BEGIN CERTIFICATE-----\\nabc\\n-----END CERTIFICATE-----';
  const key = '-----BEGIN EC PARAMETERS-----\nabc';
  const { pool } = parseConfiguration({
    POOL_DIRECTORY_URL: 'https://a.example:8089/, http://127.0.0.1:8089',
    POOL_CERTIFICATE: certificate,
    POOL_KEY: key,
  });
  expect(pool.directoryUrls).toEqual(['https://a.example:8089', 'http://127.0.0.1:8089']);
  const unescaped = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----';
  expect(pool.tls).toEqual({ certificate: unescaped, key, authority: null });
  expect(parseConfiguration({}).pool).toEqual({ directoryUrls: [], tls: null });
  const refuse = (variables: Record<string, string>) => () => parseConfiguration(variables);
  expect(refuse({ POOL_DIRECTORY_URL: 'http://pool.example' })).toThrow(/POOL_DIRECTORY_URL: must be https/);
  expect(refuse({ POOL_CERTIFICATE: certificate })).toThrow(/go together/);
  expect(refuse({ POOL_AUTHORITY: 'hunter5' })).toThrow(/POOL_AUTHORITY: must be PEM/);
});

test.each([[{ UPSTASH_REDIS_REST_URL: 'https://store.example' }], [{ UPSTASH_REDIS_REST_TOKEN: 'secret-token' }]])(
  'half of the store’s settings is an error: %j',
  (variables) => {
    expect(() => parseConfiguration(variables)).toThrow(/go together/);
  },
);

test('every unusable variable is named, and no value is repeated, since it may be a secret', () => {
  const parse = () =>
    parseConfiguration({ ANONYMOUS_TENANT_ID: 'hunter2', SUPABASE_URL: 'hunter3', UPSTREAM_BASE_URL: 'hunter4' });
  expect(parse).toThrow(/ANONYMOUS_TENANT_ID.*SUPABASE_URL|UPSTREAM_BASE_URL/);
  expect(parse).not.toThrow(/hunter/);
});

test('the service role key comes before the public key of Supabase', () => {
  const url = { SUPABASE_URL: 'https://project.example' };
  expect(parseConfiguration({ ...url, SUPABASE_ANON_KEY: 'anon' }).supabase?.key).toBe('anon');
  const both = { ...url, SUPABASE_ANON_KEY: 'anon', SUPABASE_SERVICE_ROLE_KEY: 'service' };
  expect(parseConfiguration(both).supabase?.key).toBe('service');
});

test('headers for the collector are name=value pairs whose values may hold an equals sign', () => {
  const { telemetry } = parseConfiguration({
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20dXNlcg==, x-team = 100% ,broken',
  });
  expect(telemetry.otlpHeaders).toEqual({ authorization: 'Basic dXNlcg==', 'x-team': '100%' });
});
