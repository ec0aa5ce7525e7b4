package rpc

import (
	"context"

	"connectrpc.com/connect"

	"treeline.dev/pool/engine"
)

// tensorRelease gives back the memory in which tensorCodec put a request's tensors: when the answer, which may lie there too,
// has been sent.
type tensorRelease struct{ codec *tensorCodec }

func (interceptor tensorRelease) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if !interceptor.codec.holds(request.Any()) {
			return next(ctx, request)
		}
		release := func() { interceptor.codec.release(request.Any()) }
		// The answer is sent after this function has returned, but before the lease ends.
		if lease := engine.LeaseOf(ctx); lease != nil {
			lease.Add(release)
		} else {
			defer release()
		}
		return next(ctx, request)
	}
}

func (tensorRelease) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (interceptor tensorRelease) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		receiving := &releasingStream{StreamingHandlerConn: stream, codec: interceptor.codec}
		defer receiving.release()
		return next(ctx, receiving)
	}
}

// releasingStream holds one message at a time: handlers answer a message before they receive the next.
type releasingStream struct {
	connect.StreamingHandlerConn
	codec *tensorCodec
	last  any
}

// Receive receives the next message, and lets go of the last.
func (stream *releasingStream) Receive(message any) error {
	stream.release()
	stream.last = message
	return stream.StreamingHandlerConn.Receive(message)
}

func (stream *releasingStream) release() {
	if stream.last != nil {
		stream.codec.release(stream.last)
		stream.last = nil
	}
}
