// Package openinference answers the Open Inference Protocol v2, which Triton and KServe speak: over REST with the binary
// tensor extension, and over gRPC as inference.GRPCInferenceService. Besides tensor models it shows embedding models as
// `text` → `embedding` and language models as `text_input` → `text_output`, as Triton's own vLLM backend does.
package openinference

import (
	"context"
	"slices"
	"time"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// extensions are what of the protocol's optional parts is there.
var extensions = []string{
	"binary_tensor_data", "generate", "model_configuration", "model_repository", "model_repository(unload_dependents)",
	"statistics",
}

// Door answers under /v2, and as a gRPC service.
type Door struct {
	// Models answers the calls.
	Models *models.Catalogue
	// Bounds limit what a request may be.
	Bounds door.Bounds
	// Now is the clock.
	Now func() time.Time
	// Ready tells whether the node takes calls.
	Ready func() bool
	// Version of the server.
	Version string

	statistics statistics
}

// infer runs a model of any kind on tensors, and counts it. A language model's answer comes in one piece.
func (oip *Door) infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	model, err := oip.Models.Model(ctx, request.GetModel(), request.GetVersion())
	if err != nil {
		return nil, err
	}
	begun := oip.Now()
	response, err := oip.dispatch(ctx, model, request)
	oip.statistics.count(model.GetName(), begun, oip.Now(), err == nil)
	if err != nil {
		return nil, err
	}
	if response.GetId() == "" {
		response.Id = request.GetId()
	}
	return response, nil
}

func (oip *Door) dispatch(
	ctx context.Context, model *v1.Model, request *v1.InferRequest,
) (*v1.InferResponse, error) {
	switch kindFor(model, request.GetInputs()) {
	case embedding:
		return oip.embed(ctx, model, request)
	case language:
		return oip.generateWhole(ctx, model, request)
	}
	return oip.Models.Infer(ctx, request)
}

// kind is how the protocol shows a model.
type kind int

const (
	// anyTensors is a model that takes tensors itself, and any that says nothing of what it can do.
	anyTensors kind = iota
	embedding
	language
)

// kindOf is how a model is shown: by the first thing that it says it can do.
func kindOf(model *v1.Model) kind {
	for _, capability := range model.GetCapabilities() {
		switch capability {
		case "infer":
			return anyTensors
		case "embed":
			return embedding
		case "generate":
			return language
		}
	}
	return anyTensors
}

// kindFor is what a call asks of a model that can do several things; its inputs tell.
func kindFor(model *v1.Model, inputs []*v1.Tensor) kind {
	can := func(capability string) bool { return slices.Contains(model.GetCapabilities(), capability) }
	for _, input := range inputs {
		switch {
		case can("infer"):
			return anyTensors
		case input.GetName() == "text_input" && can("generate"):
			return language
		case (input.GetName() == "text" || input.GetName() == "input_ids") && can("embed"):
			return embedding
		}
	}
	return kindOf(model)
}
