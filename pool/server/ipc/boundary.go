// Package ipc measures the boundary between this server and its engine: `POST /api/v1/ipc/call` and treeline.v1.IpcService.
// An operation goes to the engine by whichever transport is set, and the answer tells what that cost.
//
//	operation  data in                       answer
//	echo       any bytes                     the same
//	sum        any bytes                     the sum of all bytes
//	embed      a text; `model` names a model the text's vector
//	stats      none                          the engine's statistics
package ipc

import (
	"context"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rust"
	"treeline.dev/pool/telemetry"
)

// boundary makes the calls.
type boundary struct {
	engine     engine.Engine
	statistics *rust.Statistics
}

// answer is what came back, and what it cost. It must be released.
type answer struct {
	operation string
	// data is what the engine gave: bytes of ECHO, eight of SUM, vectors of EMBED. Valid until the release.
	data []byte
	// embedded and stats are set for their operations alone.
	embedded *v1.EmbedResponse
	stats    *enginev1.EngineStats
	reply    *engine.Reply
	elapsed  time.Duration
}

func (answer *answer) release() { answer.reply.Release() }

// lease lets the answer last as long as the lease of ctx; false where it has none.
func (answer *answer) lease(ctx context.Context) bool {
	lease := engine.LeaseOf(ctx)
	if lease != nil {
		lease.Add(answer.release)
	}
	return lease != nil
}

// sum is the answer to SUM.
func (answer *answer) sum() uint64 { return binary.LittleEndian.Uint64(answer.data) }

func (boundary *boundary) call(ctx context.Context, operation string, data []byte, model string) (*answer, error) {
	switch operation {
	case "echo":
		return boundary.callPlain(ctx, operation, enginev1.Operation_OPERATION_ECHO, data)
	case "sum":
		return boundary.callPlain(ctx, operation, enginev1.Operation_OPERATION_SUM, data)
	case "embed":
		return boundary.embed(ctx, data, model)
	case "stats":
		return boundary.askStats(ctx)
	default:
		return nil, models.Invalid("operation", "The operation must be echo, sum, embed or stats, not %q.",
			models.Shorten(operation))
	}
}

func (boundary *boundary) callPlain(
	ctx context.Context, name string, operation enginev1.Operation, data []byte,
) (*answer, error) {
	made := &answer{operation: name}
	err := boundary.make(ctx, made, &engine.Call{Operation: operation, Payload: [][]byte{data}})
	if err != nil {
		return nil, err
	}
	if len(made.data) != 8 && operation == enginev1.Operation_OPERATION_SUM {
		made.release()
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	return made, nil
}

// make makes the call, and measures it on this side.
func (boundary *boundary) make(ctx context.Context, made *answer, call *engine.Call) error {
	call.Traceparent = telemetry.Traceparent(ctx)
	start := time.Now()
	reply, err := boundary.engine.Call(ctx, call)
	made.elapsed = time.Since(start)
	if err != nil {
		return err
	}
	made.reply = reply
	if len(reply.Payload) > 0 {
		made.data = reply.Payload[0]
	}
	return nil
}

func (boundary *boundary) embed(ctx context.Context, text []byte, model string) (*answer, error) {
	if model == "" {
		return nil, models.Invalid("model", "embed needs the name of a model.")
	}
	if !utf8.Valid(text) {
		return nil, models.Invalid("data", "The data of embed must be a text in UTF-8.")
	}
	header, err := proto.Marshal(&v1.EmbedRequest{Model: model, Texts: []string{string(text)}})
	if err != nil {
		return nil, models.Invalid("model", "The model's name must be UTF-8.")
	}
	made := &answer{operation: "embed", embedded: &v1.EmbedResponse{}}
	call := &engine.Call{Operation: enginev1.Operation_OPERATION_EMBED, Header: header}
	if err := boundary.make(ctx, made, call); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(made.reply.Header, made.embedded); err != nil {
		made.release()
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	return made, nil
}

func (boundary *boundary) askStats(ctx context.Context) (*answer, error) {
	start := time.Now()
	stats, reply, err := boundary.statistics.Call(ctx)
	if err != nil {
		return nil, err
	}
	return &answer{operation: "stats", stats: stats, reply: reply, elapsed: time.Since(start)}, nil
}
