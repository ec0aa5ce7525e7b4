package grpc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/gen/treeline/engine/v1/enginev1connect"
)

// Service lets servers on other hosts use this node's engine, whichever transport reaches it here: what treeline-engine
// --listen answers, a node answers too.
type Service struct {
	// Engine makes the calls.
	Engine engine.Engine
	// Enter lets a call in, or refuses it; leave is called when the call has ended. HELLO and STATS are not asked for.
	Enter func() (leave func(), err error)
	// Statistics answers STATS. The engine gives each span once, and this node's exporter is who gets them.
	Statistics func(context.Context) (*enginev1.EngineStats, error)
}

var _ enginev1connect.EngineServiceHandler = (*Service)(nil)

// NewHandler is the service as HTTP, at its path. A message is bounded as the client's is, where options say nothing else.
func NewHandler(service *Service, options ...connect.HandlerOption) (path string, handler http.Handler) {
	bounds := connect.WithHandlerOptions(
		connect.WithReadMaxBytes(MessageBytesMax), connect.WithSendMaxBytes(MessageBytesMax))
	return enginev1connect.NewEngineServiceHandler(service, append([]connect.HandlerOption{bounds}, options...)...)
}

// Call makes any operation. A failure of the engine's is a frame with its status; an error is one of the connection.
func (service *Service) Call(
	ctx context.Context, request *connect.Request[enginev1.CallFrame], stream *connect.ServerStream[enginev1.ReplyFrame],
) error {
	frame := request.Msg
	call := &engine.Call{
		Operation: frame.GetOperation(), Header: frame.GetHeader(), Payload: frame.GetPayload(),
		Priority: uint8(min(frame.GetPriority(), 255)), Traceparent: frame.GetTraceparent(),
	}
	last, err := service.answer(ctx, call, stream.Send)
	if err != nil {
		if last, err = failureFrame(err); err != nil {
			return err
		}
	}
	if last == nil {
		return nil
	}
	return stream.Send(last)
}

// answer gives the last frame, or nil where it has been sent; a stream's other frames go to send.
func (service *Service) answer(
	ctx context.Context, call *engine.Call, send func(*enginev1.ReplyFrame) error,
) (last *enginev1.ReplyFrame, err error) {
	switch call.Operation {
	case enginev1.Operation_OPERATION_HELLO:
		return nil, service.forward(ctx, call, send)
	case enginev1.Operation_OPERATION_STATS:
		return service.statistics(ctx)
	}
	leave, err := service.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if call.Operation == enginev1.Operation_OPERATION_GENERATE {
		return service.generate(ctx, call, send)
	}
	return nil, service.forward(ctx, call, send)
}

// forward sends the one reply of a call from where it lies, and gives its memory back.
func (service *Service) forward(ctx context.Context, call *engine.Call, send func(*enginev1.ReplyFrame) error) error {
	reply, err := service.Engine.Call(ctx, call)
	if err != nil {
		return err
	}
	defer reply.Release()
	return send(&enginev1.ReplyFrame{Header: reply.Header, Payload: reply.Payload, Last: true})
}

func (service *Service) generate(
	ctx context.Context, call *engine.Call, send func(*enginev1.ReplyFrame) error,
) (*enginev1.ReplyFrame, error) {
	err := service.Engine.Stream(ctx, call, func(reply *engine.Reply) error {
		return send(&enginev1.ReplyFrame{Header: reply.Header})
	})
	// The end of a generation carries no message.
	return &enginev1.ReplyFrame{Last: true}, err
}

func (service *Service) statistics(ctx context.Context) (*enginev1.ReplyFrame, error) {
	statistics, err := service.Statistics(ctx)
	if err != nil {
		return nil, err
	}
	header, err := proto.Marshal(statistics)
	return &enginev1.ReplyFrame{Header: header, Last: true}, err
}

// failureFrame is the frame that tells of a failed call. What is no failure of the engine's comes back as it is.
func failureFrame(err error) (*enginev1.ReplyFrame, error) {
	var failure *engine.Error
	if !errors.As(err, &failure) {
		return nil, err
	}
	header, err := proto.Marshal(&enginev1.ErrorDetail{Message: failure.Message, Parameter: failure.Parameter})
	return &enginev1.ReplyFrame{Status: failure.Status, Header: header, Last: true}, err
}
