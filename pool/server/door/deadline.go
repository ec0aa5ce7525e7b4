package door

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"treeline.dev/pool/models"
)

// DeadlineHeader is how a client of the HTTP doors says how long it waits, in milliseconds.
const DeadlineHeader = "X-Request-Timeout-Ms"

// PriorityHeader is how a client of the HTTP doors says how urgent a call is: 0 to 255, higher goes first.
const PriorityHeader = "X-Request-Priority"

// WithDeadline bounds every call's time: by the client's header, or else by DeadlineDefault. A gRPC or Connect timeout
// comes on top, and the shorter one wins. A gRPC stream that is kept open for many calls has no deadline of ours.
func WithDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		timeout, err := timeoutOf(request.Header.Get(DeadlineHeader))
		if err != nil {
			failure := models.Describe(err)
			WriteFailure(writer, failure, map[string]any{"error": failure.Message})
			return
		}
		if isGRPC(request) && request.Header.Get(DeadlineHeader) == "" {
			next.ServeHTTP(writer, request)
			return
		}
		ctx, cancel := context.WithTimeout(request.Context(), timeout)
		defer cancel()
		next.ServeHTTP(writer, request.WithContext(ctx))
	})
}

func isGRPC(request *http.Request) bool {
	return strings.HasPrefix(request.Header.Get("Content-Type"), "application/grpc")
}

func timeoutOf(header string) (time.Duration, error) {
	if header == "" {
		return DeadlineDefault, nil
	}
	milliseconds, err := strconv.ParseUint(header, 10, 32)
	if err != nil || milliseconds == 0 || time.Duration(milliseconds)*time.Millisecond > DeadlineMax {
		return 0, models.Failure{
			HTTP: http.StatusBadRequest, GRPC: connect.CodeInvalidArgument, Type: "invalid_request_error",
			Code: "invalid_request", Parameter: DeadlineHeader,
			Message: DeadlineHeader + " must be a whole number of milliseconds, at least 1 and at most an hour.",
		}
	}
	return time.Duration(milliseconds) * time.Millisecond, nil
}

// PriorityOf reads PriorityHeader; absent: 0.
func PriorityOf(request *http.Request) (uint32, error) {
	header := request.Header.Get(PriorityHeader)
	if header == "" {
		return 0, nil
	}
	priority, err := strconv.ParseUint(header, 10, 8)
	if err != nil {
		return 0, models.Invalid(PriorityHeader, "%s must be a whole number from 0 to 255.", PriorityHeader)
	}
	return uint32(priority), nil
}
