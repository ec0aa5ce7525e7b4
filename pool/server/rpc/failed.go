package rpc

import (
	"errors"
	"math"
	"strconv"

	"connectrpc.com/connect"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/models"
)

// Failed turns an error into gRPC's: its code, its sentence, the field at fault as an ErrorDetail, and when to try again
// as `retry-after` in the metadata.
func Failed(err error) error {
	if err == nil {
		return nil
	}
	failure := models.Describe(err)
	shown := connect.NewError(failure.GRPC, errors.New(failure.Message))
	detail := &enginev1.ErrorDetail{Message: failure.Message, Parameter: failure.Parameter}
	if encoded, err := connect.NewErrorDetail(detail); err == nil {
		shown.AddDetail(encoded)
	}
	shown.Meta().Set("failure-code", failure.Code)
	if failure.RetryAfter > 0 {
		shown.Meta().Set("retry-after", strconv.Itoa(int(math.Ceil(failure.RetryAfter.Seconds()))))
	}
	return shown
}
