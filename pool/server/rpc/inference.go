package rpc

import (
	"context"

	"connectrpc.com/connect"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/models"
)

// choicesMax bounds the choices of a generation.
const choicesMax = 16

// inferenceService answers treeline.v1.InferenceService.
type inferenceService struct {
	models *models.Catalogue
}

var _ treelinev1connect.InferenceServiceHandler = (*inferenceService)(nil)

// answer wraps what a model gave.
func answer[Message any](message *Message, err error) (*connect.Response[Message], error) {
	if err != nil {
		return nil, Failed(err)
	}
	return connect.NewResponse(message), nil
}

func (service *inferenceService) Infer(
	ctx context.Context, request *connect.Request[v1.InferRequest],
) (*connect.Response[v1.InferResponse], error) {
	return answer(service.models.Infer(ctx, request.Msg))
}

func (service *inferenceService) Embed(
	ctx context.Context, request *connect.Request[v1.EmbedRequest],
) (*connect.Response[v1.EmbedResponse], error) {
	if len(request.Msg.GetTexts()) > 0 == (len(request.Msg.GetTokens()) > 0) {
		return nil, Failed(models.Invalid("texts", "Send either texts or tokens, at least one."))
	}
	return answer(service.models.Embed(ctx, request.Msg))
}

func (service *inferenceService) Rerank(
	ctx context.Context, request *connect.Request[v1.RerankRequest],
) (*connect.Response[v1.RerankResponse], error) {
	return answer(service.models.Rerank(ctx, request.Msg))
}

func (service *inferenceService) Tokenize(
	ctx context.Context, request *connect.Request[v1.TokenizeRequest],
) (*connect.Response[v1.TokenizeResponse], error) {
	return answer(service.models.Tokenize(ctx, request.Msg))
}

// Generate streams. The first message names the model and the version.
func (service *inferenceService) Generate(
	ctx context.Context, request *connect.Request[v1.GenerateRequest], stream *connect.ServerStream[v1.GenerateResponse],
) error {
	if request.Msg.GetN() > choicesMax {
		return Failed(models.Invalid("n", "n must be a whole number from 1 to %d.", choicesMax))
	}
	request.Msg.N = max(request.Msg.GetN(), 1)
	return Failed(service.models.Generate(ctx, request.Msg, stream.Send))
}

// modelService answers treeline.v1.ModelService.
type modelService struct {
	models *models.Catalogue
}

var _ treelinev1connect.ModelServiceHandler = (*modelService)(nil)

func (service *modelService) ListModels(
	ctx context.Context, _ *connect.Request[v1.ListModelsRequest],
) (*connect.Response[v1.ListModelsResponse], error) {
	listed, err := service.models.Models(ctx)
	return answer(&v1.ListModelsResponse{Models: listed}, err)
}

func (service *modelService) GetModel(
	ctx context.Context, request *connect.Request[v1.GetModelRequest],
) (*connect.Response[v1.Model], error) {
	return answer(service.models.Model(ctx, request.Msg.GetModel(), request.Msg.GetVersion()))
}

func (service *modelService) LoadModel(
	ctx context.Context, request *connect.Request[v1.LoadModelRequest],
) (*connect.Response[v1.Model], error) {
	return answer(service.models.Load(ctx, request.Msg))
}

func (service *modelService) UnloadModel(
	ctx context.Context, request *connect.Request[v1.UnloadModelRequest],
) (*connect.Response[v1.UnloadModelResponse], error) {
	return answer(&v1.UnloadModelResponse{}, service.models.Unload(ctx, request.Msg))
}

func (service *modelService) TrainModel(
	ctx context.Context, request *connect.Request[v1.TrainModelRequest],
) (*connect.Response[v1.TrainModelResponse], error) {
	return answer(service.models.Train(ctx, request.Msg))
}
