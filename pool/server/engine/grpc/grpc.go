// Package grpc reaches an engine on another host (treeline-engine --listen) as treeline.engine.v1.EngineService, by HTTP/2
// with or without TLS. Every payload is copied, and counted.
package grpc

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/gen/treeline/engine/v1/enginev1connect"
)

const (
	// MessageBytesMax bounds a message, either way; the engine has the same bound.
	MessageBytesMax = 257 << 20
	// greetTimeMax bounds the first call, in which the versions are compared.
	greetTimeMax = 30 * time.Second
	// pingInterval is how long a connection may be silent before it is asked whether it is still there.
	pingInterval = 15 * time.Second
	// pingTimeMax is how long the answer may take.
	pingTimeMax = 10 * time.Second
	// trailerTimeMax is how long the end of a stream may take after its last frame.
	trailerTimeMax = time.Second
)

// Options are where the engine is.
type Options struct {
	// Address is its base URL, such as http://10.0.0.7:8090 or https://engine.internal:8090.
	Address string
	// TLS is how it is called by https; nil: the system's authorities, and no certificate of ours.
	TLS *tls.Config
	// Contract is what the engine must have been built from; zero: engine.Built. Other values are for tests.
	Contract engine.Contract
}

// Engine is an engine on another host.
type Engine struct {
	client    enginev1connect.EngineServiceClient
	transport *http.Transport

	mutex   sync.Mutex
	running int
	closing bool
	// idle is closed once the engine closes and no call runs.
	idle chan struct{}
}

var _ engine.Engine = (*Engine)(nil)

// Open connects to the engine and compares the versions.
func Open(ctx context.Context, options Options) (*Engine, error) {
	transport, err := newTransport(options)
	if err != nil {
		return nil, err
	}
	client := enginev1connect.NewEngineServiceClient(&http.Client{Transport: transport}, options.Address,
		connect.WithGRPC(), connect.WithReadMaxBytes(MessageBytesMax), connect.WithSendMaxBytes(MessageBytesMax),
		// The engine is asked for no compression: tensors do not shrink, and the network inside a pool is fast.
		connect.WithAcceptCompression("gzip", nil, nil))
	opened := &Engine{client: client, transport: transport, idle: make(chan struct{})}
	if err := opened.greet(ctx, options.Contract.OrBuilt()); err != nil {
		transport.CloseIdleConnections()
		return nil, err
	}
	return opened, nil
}

func newTransport(options Options) (*http.Transport, error) {
	address, err := url.Parse(options.Address)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return nil, errors.New("grpc: the engine's address must be http://HOST:PORT or https://HOST:PORT")
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(address.Scheme == "https")
	protocols.SetUnencryptedHTTP2(address.Scheme == "http")
	return &http.Transport{
		Protocols:          protocols,
		TLSClientConfig:    options.TLS,
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingTimeMax},
	}, nil
}

func (grpc *Engine) greet(ctx context.Context, contract engine.Contract) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeMax)
	defer cancel()
	hello, err := grpc.Call(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if err != nil {
		return err
	}
	defer hello.Release()
	return contract.Check(hello.Header)
}

// Transport is grpc.
func (grpc *Engine) Transport() string { return "grpc" }

// Reserve gives memory of Go's heap, since all is copied anyway.
func (grpc *Engine) Reserve(size int) (*engine.Buffer, error) {
	if err := engine.CheckReserve(size); err != nil {
		return nil, err
	}
	return engine.NewBuffer(make([]byte, size), nil), nil
}

// Call makes a call with one reply.
func (grpc *Engine) Call(ctx context.Context, call *engine.Call) (*engine.Reply, error) {
	var first *engine.Reply
	err := grpc.Stream(ctx, call, func(reply *engine.Reply) error {
		first = reply
		return nil
	})
	if err == nil && first == nil {
		err = engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	if err != nil {
		return nil, err
	}
	return first, nil
}

// Stream makes a call with many replies.
func (grpc *Engine) Stream(ctx context.Context, call *engine.Call, receive func(*engine.Reply) error) error {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return engine.OfContext(err)
	}
	if err := engine.CheckBounds(call); err != nil {
		return err
	}
	if !grpc.enter() {
		return engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
	}
	defer grpc.leave()
	ctx, cancel := context.WithCancel(ctx)
	// Ends the call on the other host too, where receive did not want the rest.
	defer cancel()
	frames, err := grpc.client.Call(ctx, connect.NewRequest(&enginev1.CallFrame{
		Operation: call.Operation, Header: call.Header, Payload: call.Payload,
		Priority: uint32(call.Priority), Traceparent: call.Traceparent,
	}))
	if err != nil {
		return failure(ctx, err)
	}
	defer frames.Close()
	sent := bytesIn(call.Payload)
	for frames.Receive() {
		frame := frames.Msg()
		if isEnd(call, frame) {
			readTrailer(frames, cancel)
			return nil
		}
		ended, err := handOn(frame, sent+bytesIn(frame.Payload), time.Since(start), receive)
		if ended {
			readTrailer(frames, cancel)
		}
		if ended || err != nil {
			return err
		}
		sent = 0
	}
	if err := frames.Err(); err != nil {
		return failure(ctx, err)
	}
	return engine.Refused(enginev1.Status_STATUS_ENGINE_CRASHED)
}

// readTrailer reads on to the end of the stream, which follows the last frame at once, and cancels the call where it does
// not. A stream that is closed before its end is reset: one frame more for each call, which may count against the
// connection's streams until the other side has answered a ping.
func readTrailer(frames *connect.ServerStreamForClient[enginev1.ReplyFrame], cancel func()) {
	late := time.AfterFunc(trailerTimeMax, cancel)
	defer late.Stop()
	frames.Receive()
}

// isEnd tells whether a frame is the end of a generation, which carries no message.
func isEnd(call *engine.Call, frame *enginev1.ReplyFrame) bool {
	return call.Operation == enginev1.Operation_OPERATION_GENERATE &&
		frame.Last && frame.Status == enginev1.Status_STATUS_OK && len(frame.Header) == 0
}

// handOn gives a frame to receive.
func handOn(
	frame *enginev1.ReplyFrame, copied uint64, elapsed time.Duration, receive func(*engine.Reply) error,
) (ended bool, err error) {
	if frame.Status != enginev1.Status_STATUS_OK {
		return true, engine.Failed(frame.Status, frame.Header)
	}
	return frame.Last, receive(engine.NewReply(frame.Header, frame.Payload, copied, elapsed, nil))
}

func bytesIn(payload [][]byte) (sum uint64) {
	for _, segment := range payload {
		sum += uint64(len(segment))
	}
	return sum
}

// failure is the error of a call that the connection, not the engine, has failed.
func failure(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return engine.OfContext(cause)
	}
	switch connect.CodeOf(err) {
	case connect.CodeDeadlineExceeded:
		return engine.Refused(enginev1.Status_STATUS_DEADLINE_EXCEEDED)
	case connect.CodeResourceExhausted:
		return &engine.Error{
			Status:    enginev1.Status_STATUS_INVALID_ARGUMENT,
			Message:   "The call, or its answer, is longer than a message to the engine may be.",
			Parameter: "payload",
		}
	case connect.CodeUnavailable, connect.CodeCanceled: // A stream that the other side has reset is "cancelled" too.
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return engine.Refused(enginev1.Status_STATUS_ENGINE_CRASHED)
		}
		return &engine.Error{
			Status:  enginev1.Status_STATUS_UNAVAILABLE,
			Message: "The engine's host cannot be reached; try again later.",
		}
	default:
		return &engine.Error{
			Status:  enginev1.Status_STATUS_UNAVAILABLE,
			Message: "The engine's host did not answer as an engine does.",
		}
	}
}

func (grpc *Engine) enter() bool {
	grpc.mutex.Lock()
	defer grpc.mutex.Unlock()
	if !grpc.closing {
		grpc.running++
	}
	return !grpc.closing
}

func (grpc *Engine) leave() {
	grpc.mutex.Lock()
	defer grpc.mutex.Unlock()
	grpc.running--
	if grpc.closing && grpc.running == 0 {
		close(grpc.idle)
	}
}

// Close waits for running calls until ctx ends, and closes the connection. The engine goes on.
func (grpc *Engine) Close(ctx context.Context) error {
	defer grpc.transport.CloseIdleConnections()
	grpc.mutex.Lock()
	if !grpc.closing {
		grpc.closing = true
		if grpc.running == 0 {
			close(grpc.idle)
		}
	}
	grpc.mutex.Unlock()
	select {
	case <-grpc.idle:
		return nil
	case <-ctx.Done():
		return engine.OfContext(ctx.Err())
	}
}
