package models

import (
	"context"
	"fmt"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Unsupported refuses every call with STATUS_UNSUPPORTED. A Provider embeds it and overrides what it can do.
type Unsupported struct{}

// errUnsupported says that a model cannot do what it was asked for.
func errUnsupported(model, verb string) error {
	return &engine.Error{
		Status:  enginev1.Status_STATUS_UNSUPPORTED,
		Message: fmt.Sprintf("The model %q cannot %s.", Shorten(model), verb),
	}
}

// Infer refuses.
func (Unsupported) Infer(_ context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	return nil, errUnsupported(request.GetModel(), "take tensors")
}

// Embed refuses.
func (Unsupported) Embed(_ context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	return nil, errUnsupported(request.GetModel(), "embed")
}

// Rerank refuses.
func (Unsupported) Rerank(_ context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	return nil, errUnsupported(request.GetModel(), "rank documents")
}

// Tokenize refuses.
func (Unsupported) Tokenize(_ context.Context, request *v1.TokenizeRequest) (*v1.TokenizeResponse, error) {
	return nil, errUnsupported(request.GetModel(), "cut a text into tokens")
}

// Generate refuses.
func (Unsupported) Generate(
	_ context.Context, request *v1.GenerateRequest, _ func(*v1.GenerateResponse) error,
) error {
	return errUnsupported(request.GetModel(), "generate text")
}

// Load refuses.
func (Unsupported) Load(_ context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	return nil, errUnsupported(request.GetModel(), "be loaded from here")
}

// Unload refuses.
func (Unsupported) Unload(_ context.Context, request *v1.UnloadModelRequest) error {
	return errUnsupported(request.GetModel(), "be unloaded from here")
}

// Train refuses.
func (Unsupported) Train(_ context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error) {
	return nil, errUnsupported(request.GetModel(), "be trained")
}

// NodeLoad knows nothing.
func (Unsupported) NodeLoad(context.Context) (*v1.NodeLoad, error) { return &v1.NodeLoad{}, nil }

// shownBytesMax bounds how much of a client's text comes back in an error.
const shownBytesMax = 80

// Shorten cuts a client's text to what an error may repeat, on a character's boundary.
func Shorten(text string) string {
	if len(text) <= shownBytesMax {
		return text
	}
	cut := 0
	for position := range text {
		if position > shownBytesMax {
			break
		}
		cut = position
	}
	return text[:cut] + "…"
}
