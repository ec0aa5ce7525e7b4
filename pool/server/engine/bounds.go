package engine

import enginev1 "treeline.dev/pool/gen/treeline/engine/v1"

const (
	// SegmentsMax bounds the segments of a call and of a reply, on every transport.
	SegmentsMax = 1024
	// HeaderBytesMax bounds a call's message.
	HeaderBytesMax = 16 << 20
	// PayloadBytesMax bounds a call's payload, and a reserved buffer.
	PayloadBytesMax = 256 << 20
)

// CheckBounds refuses a call that is larger than a transport carries.
func CheckBounds(call *Call) error {
	if len(call.Header) > HeaderBytesMax {
		return tooLarge("header", "The call's message is longer than 16 MiB.")
	}
	if len(call.Payload) > SegmentsMax {
		return tooLarge("payload", "A call has at most 1024 segments.")
	}
	total := 0
	for _, segment := range call.Payload {
		total += len(segment)
	}
	if total > PayloadBytesMax {
		return tooLarge("payload", "The call's data is longer than 256 MiB.")
	}
	return nil
}

// CheckReserve refuses a buffer that no call could carry.
func CheckReserve(size int) error {
	if size < 0 || size > PayloadBytesMax {
		return tooLarge("payload", "A buffer has at most 256 MiB.")
	}
	return nil
}

func tooLarge(parameter, message string) error {
	return &Error{Status: enginev1.Status_STATUS_INVALID_ARGUMENT, Message: message, Parameter: parameter}
}
