package models

import (
	"context"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/telemetry"
)

// watched is a call as the telemetry sees it. A nil one is not seen.
type watched struct {
	call      telemetry.Call
	outcome   telemetry.Outcome
	operation *telemetry.Operation
}

func watch(kind telemetry.Kind) *watched { return &watched{call: telemetry.Call{Kind: kind}} }

func watchGenerate(request *v1.GenerateRequest) *watched {
	kind := telemetry.TextCompletion
	if len(request.GetMessages()) > 0 {
		kind = telemetry.Chat
	}
	return &watched{call: telemetry.Call{Kind: kind, Generate: request}}
}

// begin starts the operation where there is a telemetry; the context carries its span.
func (watched *watched) begin(ctx context.Context, recorder *telemetry.Telemetry, target route) context.Context {
	if watched == nil || recorder == nil {
		return ctx
	}
	watched.call.Model, watched.call.Version = target.name, target.version
	watched.call.Provider = target.provider.Name()
	ctx, watched.operation = recorder.Start(ctx, watched.call)
	return ctx
}

// piece records a piece of a generation.
func (watched *watched) piece(piece *v1.GenerateResponse) {
	if piece.GetUsage() != nil {
		watched.outcome.Usage = piece.GetUsage()
	}
	if reason := piece.GetFinishReason(); reason != v1.FinishReason_FINISH_REASON_UNSPECIFIED {
		watched.outcome.FinishReasons = append(watched.outcome.FinishReasons, reason)
	}
	if watched.operation != nil {
		watched.operation.Piece(piece.GetIndex(), len(piece.GetIds()))
	}
}

// end records what came of the call.
func (watched *watched) end(err error) {
	if watched == nil || watched.operation == nil {
		return
	}
	watched.outcome.Err = err
	watched.operation.End(watched.outcome)
}
