package engine

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// Failed is the error of a reply whose status is not OK; header is its ErrorDetail, or empty.
func Failed(status enginev1.Status, header []byte) *Error {
	var detail enginev1.ErrorDetail
	if err := proto.Unmarshal(header, &detail); err != nil || detail.Message == "" {
		return &Error{Status: status, Message: sentence(status)}
	}
	return &Error{Status: status, Message: detail.Message, Parameter: detail.Parameter}
}

// Refused is an error with the status's own sentence.
func Refused(status enginev1.Status) *Error { return &Error{Status: status, Message: sentence(status)} }

// OfContext is the error of a call whose context has ended with cause.
func OfContext(cause error) *Error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return Refused(enginev1.Status_STATUS_DEADLINE_EXCEEDED)
	}
	return Refused(enginev1.Status_STATUS_CANCELLED)
}

// sentence is what a status says where the engine said nothing more exact.
func sentence(status enginev1.Status) string {
	switch status {
	case enginev1.Status_STATUS_INVALID_ARGUMENT:
		return "The engine cannot read this call."
	case enginev1.Status_STATUS_MODEL_NOT_FOUND:
		return "There is no such model."
	case enginev1.Status_STATUS_MODEL_NOT_READY:
		return "The model is not ready."
	case enginev1.Status_STATUS_UNSUPPORTED:
		return "The model cannot do this."
	case enginev1.Status_STATUS_OVERLOADED:
		return "The engine has more calls than it takes; try again later."
	case enginev1.Status_STATUS_UNAVAILABLE:
		return "The engine takes no calls now; try again later."
	case enginev1.Status_STATUS_DEADLINE_EXCEEDED:
		return "The deadline passed before the answer was there."
	case enginev1.Status_STATUS_CANCELLED:
		return "The call was cancelled."
	case enginev1.Status_STATUS_MEMORY_EXCEEDED:
		return "The call does not fit the memory limit."
	case enginev1.Status_STATUS_ENGINE_CRASHED:
		return "The engine's process ended during the call."
	case enginev1.Status_STATUS_VERSION_MISMATCH:
		return "Server and engine were built from different contracts."
	default:
		return "The engine failed."
	}
}
