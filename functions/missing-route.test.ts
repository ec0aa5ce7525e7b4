import { describe, expect, it } from 'vitest';
import { missingRoute } from './missing-route.ts';

const missing = missingRoute([
  { method: 'ALL', path: '/*' },
  { method: 'POST', path: '/v1/embeddings' },
  { method: 'GET', path: '/v2/models/:model/ready' },
  { method: 'DELETE', path: '/v2/models/:model/ready' },
  { method: 'GET', path: '/a.b' },
]);

describe('an address without a route', () => {
  it.each([
    ['GET', '/v1/embeddings', 'method_not_allowed', ['POST']],
    ['PUT', '/v2/models/x/ready', 'method_not_allowed', ['DELETE', 'GET']],
    ['GET', '/v2/models/x/y/ready', 'route_not_found', []],
    ['POST', '/v1/embeddings/', 'route_not_found', []],
    ['POST', '/axb', 'route_not_found', []],
  ])('%s %s is %s', (method, path, code, allowed) => {
    const answer = missing(method, path);
    expect(answer.error.code).toBe(code);
    expect(answer.allowed).toEqual(allowed);
  });
});
