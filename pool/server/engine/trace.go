package engine

import "encoding/hex"

// Trace is a caller's span as the engine's structures hold it.
type Trace struct {
	// TraceID of zeros: not traced.
	TraceID [16]byte
	SpanID  [8]byte
	// Flags: bit 0 is set where the span is sampled.
	Flags byte
}

// ParseTrace reads a traceparent (W3C Trace Context); another text leaves the call untraced.
func ParseTrace(traceparent string) (trace Trace) {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(traceparent) < length || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-' {
		return Trace{}
	}
	var bytes [25]byte
	digits := traceparent[3:35] + traceparent[36:52] + traceparent[53:55]
	if _, err := hex.Decode(bytes[:], []byte(digits)); err != nil {
		return Trace{}
	}
	copy(trace.TraceID[:], bytes[:16])
	copy(trace.SpanID[:], bytes[16:24])
	trace.Flags = bytes[24]
	return trace
}
