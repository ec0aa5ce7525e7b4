// Package rust is the Rust engine as a Provider, over whichever transport. Tensors' data goes to the engine as segments of
// the payload, never inside a message; what comes back lies where the engine wrote it for as long as the caller's lease
// (engine.WithLease) lasts, and is copied where there is none.
package rust

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/telemetry"
)

// Name is the provider's name where nothing else is set.
const Name = "rust"

// Provider answers for the engine's models.
type Provider struct {
	name        string
	engine      engine.Engine
	statistics  *Statistics
	bytesCopied atomic.Uint64
}

var _ models.Provider = (*Provider)(nil)

// New is a provider of that name over an engine, which the caller closes.
func New(name string, over engine.Engine, statistics *Statistics) *Provider {
	return &Provider{name: name, engine: over, statistics: statistics}
}

// Name is unique on the node.
func (provider *Provider) Name() string { return provider.name }

// BytesCopied counts bytes of payload that were copied, on the way to the engine, back, and here.
func (provider *Provider) BytesCopied() uint64 { return provider.bytesCopied.Load() }

// Reserve gives memory for a tensor that the engine reads where it lies: a door decodes a request straight into it.
func (provider *Provider) Reserve(size int) (*engine.Buffer, error) {
	return provider.engine.Reserve(size)
}

// call makes a call with one reply and reads its message into response. The payload is good as long as the lease of ctx,
// or for ever where it has none.
func (provider *Provider) call(
	ctx context.Context, operation enginev1.Operation, request proto.Message, payload [][]byte, response proto.Message,
) ([][]byte, error) {
	header, err := proto.Marshal(request)
	if err != nil {
		return nil, errUnreadable()
	}
	reply, err := provider.engine.Call(ctx, &engine.Call{
		Operation: operation, Header: header, Payload: payload, Traceparent: telemetry.Traceparent(ctx),
	})
	if err != nil {
		return nil, err
	}
	provider.bytesCopied.Add(reply.BytesCopied)
	if err := proto.Unmarshal(reply.Header, response); err != nil {
		reply.Release()
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	return provider.keep(ctx, reply), nil
}

func errUnreadable() error {
	return &engine.Error{
		Status:  enginev1.Status_STATUS_INVALID_ARGUMENT,
		Message: "The request holds text that is not UTF-8.",
	}
}

// keep makes the payload outlast this call.
func (provider *Provider) keep(ctx context.Context, reply *engine.Reply) [][]byte {
	payload := reply.Payload
	if reply.Outlasts() || len(payload) == 0 {
		reply.Release()
		return payload
	}
	if lease := engine.LeaseOf(ctx); lease != nil {
		lease.Add(reply.Release)
		return payload
	}
	defer reply.Release()
	copies := make([][]byte, len(payload))
	for index, segment := range payload {
		copies[index] = append([]byte(nil), segment...)
		provider.bytesCopied.Add(uint64(len(segment)))
	}
	return copies
}

// withoutData is tensors as the engine wants them: the data is the payload, and the messages have none.
func withoutData(tensors []*v1.Tensor) (described []*v1.Tensor, payload [][]byte) {
	described, payload = make([]*v1.Tensor, len(tensors)), make([][]byte, len(tensors))
	for index, tensor := range tensors {
		described[index] = &v1.Tensor{
			Name: tensor.GetName(), Datatype: tensor.GetDatatype(), Shape: tensor.GetShape(),
			Parameters: tensor.GetParameters(),
		}
		payload[index] = tensor.GetData()
	}
	return described, payload
}

// Infer runs a tensor model.
func (provider *Provider) Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	inputs, payload := withoutData(request.GetInputs())
	described := &v1.InferRequest{
		Model: request.GetModel(), Version: request.GetVersion(), Id: request.GetId(), Inputs: inputs,
		Outputs: request.GetOutputs(), Parameters: request.GetParameters(),
	}
	response := &v1.InferResponse{}
	payload, err := provider.call(ctx, enginev1.Operation_OPERATION_INFER, described, payload, response)
	if err != nil {
		return nil, err
	}
	if len(payload) != len(response.Outputs) {
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	for index, output := range response.Outputs {
		output.Data = payload[index]
	}
	return response, nil
}

// Embed turns texts into vectors.
func (provider *Provider) Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	response := &v1.EmbedResponse{}
	payload, err := provider.call(ctx, enginev1.Operation_OPERATION_EMBED, request, nil, response)
	if err != nil {
		return nil, err
	}
	if len(payload) != 1 {
		return nil, engine.Refused(enginev1.Status_STATUS_INTERNAL)
	}
	response.Vectors = payload[0]
	return response, nil
}

// Rerank orders documents.
func (provider *Provider) Rerank(ctx context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	response := &v1.RerankResponse{}
	_, err := provider.call(ctx, enginev1.Operation_OPERATION_RERANK, request, nil, response)
	return orNil(response, err)
}

// Tokenize cuts a text into tokens.
func (provider *Provider) Tokenize(ctx context.Context, request *v1.TokenizeRequest) (*v1.TokenizeResponse, error) {
	response := &v1.TokenizeResponse{}
	_, err := provider.call(ctx, enginev1.Operation_OPERATION_TOKENIZE, request, nil, response)
	return orNil(response, err)
}

// Generate generates text; an error from send cancels the generation and is returned.
func (provider *Provider) Generate(
	ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error,
) error {
	header, err := proto.Marshal(request)
	if err != nil {
		return errUnreadable()
	}
	call := &engine.Call{
		Operation: enginev1.Operation_OPERATION_GENERATE, Header: header,
		Priority: uint8(min(request.GetPriority(), 255)), Traceparent: telemetry.Traceparent(ctx),
	}
	return provider.engine.Stream(ctx, call, func(reply *engine.Reply) error {
		piece := &v1.GenerateResponse{}
		if err := proto.Unmarshal(reply.Header, piece); err != nil {
			return engine.Refused(enginev1.Status_STATUS_INTERNAL)
		}
		return send(piece)
	})
}

// Models lists the models of the engine's repository.
func (provider *Provider) Models(ctx context.Context) ([]*v1.Model, error) {
	response := &v1.ListModelsResponse{}
	request := &v1.ListModelsRequest{}
	if _, err := provider.call(ctx, enginev1.Operation_OPERATION_LIST_MODELS, request, nil, response); err != nil {
		return nil, err
	}
	for _, model := range response.Models {
		model.Provider = provider.name
	}
	return response.Models, nil
}

// Load loads a version.
func (provider *Provider) Load(ctx context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	response := &v1.Model{}
	_, err := provider.call(ctx, enginev1.Operation_OPERATION_LOAD_MODEL, request, nil, response)
	response.Provider = provider.name
	return orNil(response, err)
}

// Unload takes versions out of service.
func (provider *Provider) Unload(ctx context.Context, request *v1.UnloadModelRequest) error {
	_, err := provider.call(ctx, enginev1.Operation_OPERATION_UNLOAD_MODEL, request, nil, &v1.UnloadModelResponse{})
	return err
}

// Train trains a classic model.
func (provider *Provider) Train(ctx context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error) {
	tensors, payload := withoutData(request.GetTensors())
	described := &v1.TrainModelRequest{
		Model: request.GetModel(), Backend: request.GetBackend(), Algorithm: request.GetAlgorithm(),
		Tensors: tensors, Parameters: request.GetParameters(),
	}
	response := &v1.TrainModelResponse{}
	_, err := provider.call(ctx, enginev1.Operation_OPERATION_TRAIN_MODEL, described, payload, response)
	if model := response.GetModel(); model != nil {
		model.Provider = provider.name
	}
	return orNil(response, err)
}

// NodeLoad is how busy the engine is. Rates of tokens are the Catalogue's, which sees all providers.
func (provider *Provider) NodeLoad(ctx context.Context) (*v1.NodeLoad, error) {
	stats, err := provider.statistics.Peek(ctx)
	if err != nil {
		return nil, err
	}
	load := &v1.NodeLoad{Running: stats.GetRunning(), Waiting: stats.GetWaiting(), WaitingMax: stats.GetWaitingMax()}
	if blocks := stats.GetKvBlocks(); blocks > 0 {
		load.KvCacheUsage = float64(stats.GetKvBlocksUsed()) / float64(blocks)
	}
	return load, nil
}

func orNil[message any](response *message, err error) (*message, error) {
	if err != nil {
		return nil, err
	}
	return response, nil
}
