package openinference

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/gen/inference"
	"treeline.dev/pool/gen/inference/inferenceconnect"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// finalResponse is Triton's parameter that marks the last response to a request of a stream.
const finalResponse = "triton_final_response"

// Service is the door as inference.GRPCInferenceService.
type Service struct {
	inferenceconnect.UnimplementedGRPCInferenceServiceHandler
	Door *Door
}

var _ inferenceconnect.GRPCInferenceServiceHandler = (*Service)(nil)

// failed turns an error into gRPC's.
func failed(err error) error {
	if err == nil {
		return nil
	}
	failure := models.Describe(err)
	return connect.NewError(failure.GRPC, errors.New(failure.Message))
}

// ServerLive tells that the server answers.
func (service *Service) ServerLive(
	context.Context, *connect.Request[inference.ServerLiveRequest],
) (*connect.Response[inference.ServerLiveResponse], error) {
	return connect.NewResponse(&inference.ServerLiveResponse{Live: true}), nil
}

// ServerReady tells whether the node takes calls.
func (service *Service) ServerReady(
	context.Context, *connect.Request[inference.ServerReadyRequest],
) (*connect.Response[inference.ServerReadyResponse], error) {
	return connect.NewResponse(&inference.ServerReadyResponse{Ready: service.Door.Ready()}), nil
}

// ModelReady tells whether a model answers; one that is not known does not.
func (service *Service) ModelReady(
	ctx context.Context, request *connect.Request[inference.ModelReadyRequest],
) (*connect.Response[inference.ModelReadyResponse], error) {
	model, err := service.Door.Models.Model(ctx, request.Msg.GetName(), request.Msg.GetVersion())
	if err != nil {
		return nil, failed(err)
	}
	return connect.NewResponse(&inference.ModelReadyResponse{Ready: isReady(model)}), nil
}

// ServerMetadata says what the server is.
func (service *Service) ServerMetadata(
	context.Context, *connect.Request[inference.ServerMetadataRequest],
) (*connect.Response[inference.ServerMetadataResponse], error) {
	return connect.NewResponse(&inference.ServerMetadataResponse{
		Name: serverName, Version: service.Door.Version, Extensions: extensions,
	}), nil
}

// ModelMetadata says what a model takes and gives.
func (service *Service) ModelMetadata(
	ctx context.Context, request *connect.Request[inference.ModelMetadataRequest],
) (*connect.Response[inference.ModelMetadataResponse], error) {
	model, err := service.Door.Models.Model(ctx, request.Msg.GetName(), request.Msg.GetVersion())
	if err != nil {
		return nil, failed(err)
	}
	inputs, outputs := tensorsOf(model)
	return connect.NewResponse(&inference.ModelMetadataResponse{
		Name: model.GetName(), Versions: versionsOf(model), Platform: model.GetBackend(),
		Inputs: metadataOf(inputs), Outputs: metadataOf(outputs),
	}), nil
}

func metadataOf(infos []*v1.TensorInfo) (shown []*inference.ModelMetadataResponse_TensorMetadata) {
	for _, info := range infos {
		shown = append(shown, &inference.ModelMetadataResponse_TensorMetadata{
			Name: info.GetName(), Datatype: info.GetDatatype(), Shape: info.GetShape(),
		})
	}
	return shown
}

// ModelConfig gives a model's configuration.
func (service *Service) ModelConfig(
	ctx context.Context, request *connect.Request[inference.ModelConfigRequest],
) (*connect.Response[inference.ModelConfigResponse], error) {
	model, err := service.Door.Models.Model(ctx, request.Msg.GetName(), request.Msg.GetVersion())
	if err != nil {
		return nil, failed(err)
	}
	return connect.NewResponse(&inference.ModelConfigResponse{Config: configOf(model)}), nil
}

// ModelInfer runs a model once.
func (service *Service) ModelInfer(
	ctx context.Context, request *connect.Request[inference.ModelInferRequest],
) (*connect.Response[inference.ModelInferResponse], error) {
	call, err := parseGRPC(request.Msg)
	if err != nil {
		return nil, failed(err)
	}
	response, err := service.Door.infer(ctx, call)
	if err != nil {
		return nil, failed(err)
	}
	return connect.NewResponse(formatGRPC(response)), nil
}

// ModelStreamInfer runs the stream's requests one after the other, in their order. A tensor model gives one response to
// each, a language model one for every piece of text. A request that fails does not end the stream.
func (service *Service) ModelStreamInfer(
	ctx context.Context, stream *connect.BidiStream[inference.ModelInferRequest, inference.ModelStreamInferResponse],
) error {
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := service.streamOne(ctx, request, stream.Send); err != nil {
			return err
		}
	}
}

// streamOne answers one request of a stream. An error means that the stream itself is broken.
func (service *Service) streamOne(
	ctx context.Context, request *inference.ModelInferRequest, send func(*inference.ModelStreamInferResponse) error,
) error {
	var broken error
	give := func(response *inference.ModelInferResponse) error {
		broken = send(&inference.ModelStreamInferResponse{InferResponse: response})
		return broken
	}
	err := service.streamAnswers(ctx, request, give)
	if broken != nil || err == nil {
		return broken
	}
	return send(&inference.ModelStreamInferResponse{
		ErrorMessage: models.Describe(err).Message,
		InferResponse: &inference.ModelInferResponse{
			ModelName: request.GetModelName(), ModelVersion: request.GetModelVersion(), Id: request.GetId(),
		},
	})
}

func (service *Service) streamAnswers(
	ctx context.Context, request *inference.ModelInferRequest, give func(*inference.ModelInferResponse) error,
) error {
	call, err := parseGRPC(request)
	if err != nil {
		return err
	}
	model, err := service.Door.Models.Model(ctx, call.GetModel(), call.GetVersion())
	if err != nil {
		return err
	}
	if kindFor(model, call.GetInputs()) != language {
		// One for each answer: the stream may last long.
		ctx, lease := engine.WithLease(ctx)
		defer lease.Release()
		response, err := service.Door.infer(ctx, call)
		if err != nil {
			return err
		}
		return give(formatGRPC(response))
	}
	err = service.Door.generateStream(ctx, model, call, func(response *v1.InferResponse) error {
		return give(formatGRPC(response))
	})
	if err != nil || !request.GetParameters()["triton_enable_empty_final_response"].GetBoolParam() {
		return err
	}
	return give(&inference.ModelInferResponse{
		ModelName: model.GetName(), ModelVersion: model.GetVersion(), Id: request.GetId(),
		Parameters: map[string]*inference.InferParameter{
			finalResponse: {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}},
		},
	})
}

// ModelStatistics gives what is counted of one model, or of all.
func (service *Service) ModelStatistics(
	ctx context.Context, request *connect.Request[inference.ModelStatisticsRequest],
) (*connect.Response[inference.ModelStatisticsResponse], error) {
	listed, err := service.Door.Models.Models(ctx)
	if name := request.Msg.GetName(); name != "" && err == nil {
		var model *v1.Model
		model, err = service.Door.Models.Model(ctx, name, request.Msg.GetVersion())
		listed = []*v1.Model{model}
	}
	if err != nil {
		return nil, failed(err)
	}
	response := &inference.ModelStatisticsResponse{}
	for _, model := range listed {
		counted := service.Door.statistics.of(model.GetName())
		response.ModelStats = append(response.ModelStats, &inference.ModelStatistics{
			Name: model.GetName(), Version: model.GetVersion(), LastInference: counted.lastMs,
			InferenceCount: counted.success.Count, ExecutionCount: counted.success.Count,
			InferenceStats: &inference.InferStatistics{
				Success: &inference.StatisticDuration{Count: counted.success.Count, Ns: counted.success.Ns},
				Fail:    &inference.StatisticDuration{Count: counted.fail.Count, Ns: counted.fail.Ns},
			},
		})
	}
	return connect.NewResponse(response), nil
}

// RepositoryIndex lists the models.
func (service *Service) RepositoryIndex(
	ctx context.Context, request *connect.Request[inference.RepositoryIndexRequest],
) (*connect.Response[inference.RepositoryIndexResponse], error) {
	service.Door.Models.Refresh(ctx)
	listed, err := service.Door.Models.Models(ctx)
	if err != nil {
		return nil, failed(err)
	}
	response := &inference.RepositoryIndexResponse{}
	for _, model := range listed {
		if request.Msg.GetReady() && !isReady(model) {
			continue
		}
		response.Models = append(response.Models, &inference.RepositoryIndexResponse_ModelIndex{
			Name: model.GetName(), Version: model.GetVersion(), State: stateOf(model), Reason: model.GetReason(),
		})
	}
	return connect.NewResponse(response), nil
}

// RepositoryModelLoad loads a model.
func (service *Service) RepositoryModelLoad(
	ctx context.Context, request *connect.Request[inference.RepositoryModelLoadRequest],
) (*connect.Response[inference.RepositoryModelLoadResponse], error) {
	var names []string
	for name := range request.Msg.GetParameters() {
		names = append(names, name)
	}
	if err := checkLoad(names); err != nil {
		return nil, failed(err)
	}
	if _, err := service.Door.Models.Load(ctx, &v1.LoadModelRequest{Model: request.Msg.GetModelName()}); err != nil {
		return nil, failed(err)
	}
	return connect.NewResponse(&inference.RepositoryModelLoadResponse{}), nil
}

// RepositoryModelUnload takes a model out of service.
func (service *Service) RepositoryModelUnload(
	ctx context.Context, request *connect.Request[inference.RepositoryModelUnloadRequest],
) (*connect.Response[inference.RepositoryModelUnloadResponse], error) {
	err := service.Door.Models.Unload(ctx, &v1.UnloadModelRequest{Model: request.Msg.GetModelName()})
	if err != nil {
		return nil, failed(err)
	}
	return connect.NewResponse(&inference.RepositoryModelUnloadResponse{}), nil
}
