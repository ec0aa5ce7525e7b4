// Package engine is the one way to the Rust engine that the rest of the server knows, whichever transport carries it:
// linked into the process (ffi), worker processes over shared memory (shm), or another host (grpc).
//
// A call is an operation, a header (a protobuf message of proto/services.proto, by the table in proto/engine.proto) and
// a payload of segments. The payload is never copied on ffi and shm; Reply.BytesCopied counts what was.
package engine

import (
	"context"
	"time"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// ABIVersion is the layout of the C structures and of the shared ring that this side was built for. It must equal
// ABI_VERSION of pool/engine/contract.
const ABIVersion = 1

// Call is what goes to the engine.
type Call struct {
	Operation enginev1.Operation
	// Header is the encoded message; nil where the operation has none.
	Header []byte
	// Payload are the segments. They must not change until the call has returned. Segments from Reserve travel without
	// a copy on every transport that can; others are copied where the transport needs it (shm), and counted.
	Payload [][]byte
	// Priority is higher for what goes first, 0 to 255.
	Priority uint8
	// Traceparent is the caller's span, W3C's form; empty: not traced.
	Traceparent string
}

// Reply is what comes back. Header and Payload may lie in the engine's memory: they are valid until Release.
type Reply struct {
	// Header is the encoded message.
	Header []byte
	// Payload are the segments.
	Payload [][]byte
	// BytesCopied counts bytes of payload that were copied between the two sides, both ways.
	BytesCopied uint64
	// Elapsed is the time from the call to the reply, as this side saw it.
	Elapsed time.Duration

	release func()
}

// NewReply makes a reply whose memory is given back by release (nil where there is nothing to give back).
func NewReply(header []byte, payload [][]byte, bytesCopied uint64, elapsed time.Duration, release func()) *Reply {
	return &Reply{Header: header, Payload: payload, BytesCopied: bytesCopied, Elapsed: elapsed, release: release}
}

// Outlasts tells whether header and payload stay valid after Release, because they are Go's own.
func (reply *Reply) Outlasts() bool { return reply.release == nil }

// Release gives the reply's memory back. The reply must not be used afterwards. A second call does nothing.
func (reply *Reply) Release() {
	if reply != nil && reply.release != nil {
		reply.release()
		reply.release = nil
	}
}

// Buffer is memory that the engine can read where it lies.
type Buffer struct {
	// Bytes is the memory, of the length asked for.
	Bytes []byte

	release func()
}

// NewBuffer makes a buffer whose memory is given back by release.
func NewBuffer(bytes []byte, release func()) *Buffer { return &Buffer{Bytes: bytes, release: release} }

// Release gives the memory back; once nothing reads it any more. A second call does nothing.
func (buffer *Buffer) Release() {
	if buffer != nil && buffer.release != nil {
		buffer.release()
		buffer.release = nil
	}
}

// Engine reaches an engine. All methods may be called from many goroutines at once. A call that fails returns *Error.
type Engine interface {
	// Transport is ffi, shm or grpc.
	Transport() string
	// Call makes a call with one reply, which the caller must Release.
	Call(ctx context.Context, call *Call) (*Reply, error)
	// Stream makes a call with many replies. Each is given to receive, which must not keep it; an error from receive
	// cancels the call and is returned. When ctx ends, the call is cancelled.
	Stream(ctx context.Context, call *Call, receive func(*Reply) error) error
	// Reserve gives memory of that many bytes for a payload segment that the engine reads in place.
	Reserve(size int) (*Buffer, error)
	// Close waits for running calls until ctx ends, then ends the engine.
	Close(ctx context.Context) error
}

// Error is a failed call: a reason for programs and a sentence for people, which is safe to show to the client.
type Error struct {
	Status    enginev1.Status
	Message   string
	Parameter string
}

func (e *Error) Error() string { return e.Message }
