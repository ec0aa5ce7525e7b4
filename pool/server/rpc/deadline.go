package rpc

import (
	"context"

	"connectrpc.com/connect"

	"treeline.dev/pool/door"
)

// deadline bounds the time of calls whose client sets no deadline. A stream that the client sends many calls through
// has none: it lives as long as its client.
type deadline struct{}

func (deadline) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, door.DeadlineDefault)
		defer cancel()
		return next(ctx, request)
	}
}

func (deadline) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (deadline) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		if stream.Spec().StreamType != connect.StreamTypeServer {
			return next(ctx, stream)
		}
		ctx, cancel := context.WithTimeout(ctx, door.DeadlineDefault)
		defer cancel()
		return next(ctx, stream)
	}
}
