// Package models knows which engine of this node answers for which model: the Rust engine, the Go models, or engines made
// by others. Every door (OpenAI, Open Inference, gRPC, jobs) calls the Catalogue, and none knows what stands behind it.
package models

import (
	"context"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Provider answers for a set of models. Methods that a provider has no use for return ErrUnsupported wrapped in
// *engine.Error with STATUS_UNSUPPORTED (embed Unsupported to get that). Messages are not kept after the call.
type Provider interface {
	// Name is unique on the node, such as "rust", "go", "vllm-1".
	Name() string
	// Models lists what there is, loaded or not. Cheap: it is asked often.
	Models(ctx context.Context) ([]*v1.Model, error)

	Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error)
	Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error)
	Rerank(ctx context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error)
	Tokenize(ctx context.Context, request *v1.TokenizeRequest) (*v1.TokenizeResponse, error)
	// Generate gives each piece to send as it comes; an error from send cancels the generation and is returned.
	Generate(ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error) error

	Load(ctx context.Context, request *v1.LoadModelRequest) (*v1.Model, error)
	Unload(ctx context.Context, request *v1.UnloadModelRequest) error
	Train(ctx context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error)

	// Load now, for the directory and the metrics; zero where unknown.
	NodeLoad(ctx context.Context) (*v1.NodeLoad, error)
}
