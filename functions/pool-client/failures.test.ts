import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { ApiError } from '../errors.ts';
import { poolFailure } from './failures.ts';
import { ErrorDetailSchema } from './gen/engine_pb.js';

test.each<[Code, string, number, boolean]>([
  [Code.InvalidArgument, 'invalid_request', 400, true],
  [Code.OutOfRange, 'invalid_request', 400, true],
  [Code.FailedPrecondition, 'invalid_request', 400, true],
  [Code.Unimplemented, 'unsupported', 501, true],
  [Code.NotFound, 'model_not_found', 404, true],
  [Code.ResourceExhausted, 'overloaded', 429, true],
  [Code.Unavailable, 'pool_unavailable', 503, false],
  [Code.DeadlineExceeded, 'upstream_timeout', 504, false],
  [Code.Internal, 'upstream_failed', 502, false],
  [Code.Unknown, 'upstream_failed', 502, false],
  [Code.PermissionDenied, 'upstream_failed', 502, false],
  [Code.Unauthenticated, 'upstream_failed', 502, false],
  [Code.Canceled, 'upstream_failed', 502, false],
])('code %i is %s (%i), with the pool’s own words: %s', (code, failure, status, isShown) => {
  const error = poolFailure(new ConnectError('words of 10.0.0.7', code));
  expect([error.code, error.status]).toEqual([failure, status]);
  expect(error.message.includes('words of 10.0.0.7')).toBe(isShown);
});

test('the time that an overloaded pool asks for goes to the client, and the field at fault', () => {
  const full = new ConnectError('full', Code.ResourceExhausted, { 'retry-after': '3' });
  expect(poolFailure(full).retryAfterSeconds).toBe(3);
  const value = toBinary(ErrorDetailSchema, create(ErrorDetailSchema, { message: 'wrong', parameter: 'messages' }));
  const wrong = new ConnectError('wrong', Code.InvalidArgument);
  wrong.details = [{ type: 'treeline.engine.v1.ErrorDetail', value }];
  expect(poolFailure(wrong).parameter).toBe('messages');
});

test('a failure of ours stays what it is, and what is no failure at all is ours to look into', () => {
  const own = new ApiError('forbidden');
  expect(poolFailure(own)).toBe(own);
  expect(poolFailure(new TypeError('undefined is not a function')).code).toBe('upstream_failed');
});
