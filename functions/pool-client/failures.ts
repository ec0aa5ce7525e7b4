/** The one place where a failed call of the pool becomes a failure that the client may see. */
import { Code, ConnectError } from '@connectrpc/connect';
import { ApiError, type FailureCode } from '../errors.ts';
import { ErrorDetailSchema } from './gen/engine_pb.js';
import { retryAfterMs } from './retry.ts';

/** The failure that each code stands for, and whether the pool's sentence is about the request and so goes with it. */
function meaningOf(code: Code): { failure: FailureCode; isAboutRequest: boolean } {
  switch (code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
    case Code.FailedPrecondition:
    case Code.AlreadyExists:
    case Code.Aborted:
      return { failure: 'invalid_request', isAboutRequest: true };
    case Code.Unimplemented:
      return { failure: 'unsupported', isAboutRequest: true };
    case Code.NotFound:
      return { failure: 'model_not_found', isAboutRequest: true };
    case Code.ResourceExhausted:
      return { failure: 'overloaded', isAboutRequest: true };
    case Code.Unavailable:
      return { failure: 'pool_unavailable', isAboutRequest: false };
    case Code.DeadlineExceeded:
      return { failure: 'upstream_timeout', isAboutRequest: false };
    // A wrong certificate of ours, a client that is gone, and what should not happen: not the client's to read.
    case Code.PermissionDenied:
    case Code.Unauthenticated:
    case Code.Canceled:
    case Code.Internal:
    case Code.DataLoss:
    case Code.Unknown:
      return { failure: 'upstream_failed', isAboutRequest: false };
  }
}

/** The field at fault that the pool named, where it did. */
function parameterOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorDetailSchema).find(({ parameter }) => parameter !== '')?.parameter;
}

/** Turns what a call of the pool threw into an `ApiError`; an `ApiError` stays what it is. */
export function poolFailure(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const error = ConnectError.from(thrown, Code.Internal);
  const { failure, isAboutRequest } = meaningOf(error.code);
  const parameter = parameterOf(error);
  const waitMs = retryAfterMs(error);
  return new ApiError(failure, isAboutRequest && error.rawMessage !== '' ? error.rawMessage : undefined, {
    cause: error,
    ...(parameter === undefined ? {} : { parameter }),
    ...(waitMs === null ? {} : { retryAfterSeconds: Math.ceil(waitMs / 1e3) }),
  });
}
