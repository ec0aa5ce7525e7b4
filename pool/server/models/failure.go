package models

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// StatusClientClosedRequest is what a client that has gone would have got; nginx's number, which logs and dashboards know.
const StatusClientClosedRequest = 499

// retryAfter is when a client may try again that was refused for want of room or readiness.
const retryAfter = time.Second

// Failure is an error as every door shows it. It is an error itself, for what a door refuses before any engine is asked.
type Failure struct {
	// HTTP is the status of an HTTP answer.
	HTTP int
	// GRPC is the code of a gRPC or Connect answer.
	GRPC connect.Code
	// Type is OpenAI's `type`, by which its clients choose the exception that they raise.
	Type string
	// Code is the stable name of the failure: OpenAI's `code`.
	Code string
	// RetryAfter is sent as Retry-After; 0: not sent.
	RetryAfter time.Duration
	// Message is one sentence that is safe to show.
	Message string
	// Parameter is the field at fault; empty where none is.
	Parameter string
}

func (failure Failure) Error() string { return failure.Message }

// Invalid refuses a request whose field `parameter` is not as it must be.
func Invalid(parameter, format string, values ...any) error {
	return &engine.Error{
		Status:    enginev1.Status_STATUS_INVALID_ARGUMENT,
		Message:   fmt.Sprintf(format, values...),
		Parameter: parameter,
	}
}

// ofStatus is the one place where an engine's status becomes an answer.
func ofStatus(status enginev1.Status) Failure {
	switch status {
	case enginev1.Status_STATUS_INVALID_ARGUMENT:
		return Failure{HTTP: http.StatusBadRequest, GRPC: connect.CodeInvalidArgument,
			Type: "invalid_request_error", Code: "invalid_request"}
	case enginev1.Status_STATUS_MODEL_NOT_FOUND:
		return Failure{HTTP: http.StatusNotFound, GRPC: connect.CodeNotFound,
			Type: "not_found_error", Code: "model_not_found"}
	case enginev1.Status_STATUS_MODEL_NOT_READY:
		return Failure{HTTP: http.StatusServiceUnavailable, GRPC: connect.CodeUnavailable,
			Type: "server_error", Code: "model_not_ready", RetryAfter: retryAfter}
	case enginev1.Status_STATUS_UNSUPPORTED:
		return Failure{HTTP: http.StatusNotImplemented, GRPC: connect.CodeUnimplemented,
			Type: "invalid_request_error", Code: "unsupported"}
	case enginev1.Status_STATUS_OVERLOADED:
		return Failure{HTTP: http.StatusTooManyRequests, GRPC: connect.CodeResourceExhausted,
			Type: "rate_limit_error", Code: "overloaded", RetryAfter: retryAfter}
	case enginev1.Status_STATUS_UNAVAILABLE:
		return Failure{HTTP: http.StatusServiceUnavailable, GRPC: connect.CodeUnavailable,
			Type: "server_error", Code: "unavailable", RetryAfter: retryAfter}
	case enginev1.Status_STATUS_DEADLINE_EXCEEDED:
		return Failure{HTTP: http.StatusGatewayTimeout, GRPC: connect.CodeDeadlineExceeded,
			Type: "server_error", Code: "deadline_exceeded"}
	case enginev1.Status_STATUS_CANCELLED:
		return Failure{HTTP: StatusClientClosedRequest, GRPC: connect.CodeCanceled,
			Type: "server_error", Code: "cancelled"}
	case enginev1.Status_STATUS_MEMORY_EXCEEDED:
		return Failure{HTTP: http.StatusInsufficientStorage, GRPC: connect.CodeResourceExhausted,
			Type: "server_error", Code: "memory_exceeded"}
	case enginev1.Status_STATUS_ENGINE_CRASHED:
		return Failure{HTTP: http.StatusServiceUnavailable, GRPC: connect.CodeUnavailable,
			Type: "server_error", Code: "engine_crashed", RetryAfter: retryAfter}
	case enginev1.Status_STATUS_VERSION_MISMATCH:
		return Failure{HTTP: http.StatusInternalServerError, GRPC: connect.CodeFailedPrecondition,
			Type: "server_error", Code: "version_mismatch"}
	case enginev1.Status_STATUS_OK, enginev1.Status_STATUS_INTERNAL:
	}
	// An unknown status, or a failure that claims to be none, is our fault.
	return Failure{HTTP: http.StatusInternalServerError, GRPC: connect.CodeInternal,
		Type: "server_error", Code: "internal"}
}

// Describe turns any error into what a client may see. What was not foreseen is `internal`, and its text stays inside.
func Describe(err error) Failure {
	var failure Failure
	if errors.As(err, &failure) {
		return failure
	}
	var failed *engine.Error
	switch {
	case errors.As(err, &failed):
		failure = ofStatus(failed.Status)
		failure.Message, failure.Parameter = failed.Message, failed.Parameter
	case errors.Is(err, context.DeadlineExceeded):
		failure = ofStatus(enginev1.Status_STATUS_DEADLINE_EXCEEDED)
		failure.Message = "The request's time ran out."
	case errors.Is(err, context.Canceled):
		failure = ofStatus(enginev1.Status_STATUS_CANCELLED)
		failure.Message = "The request was cancelled."
	default:
		failure = ofStatus(enginev1.Status_STATUS_INTERNAL)
	}
	if failure.Message == "" {
		failure.Message = "Something went wrong on our side."
	}
	return failure
}
