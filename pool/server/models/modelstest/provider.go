// Package modelstest has a Provider for tests of the doors: its models answer from their input alone, so that a test can
// say what must come back. No program links it.
package modelstest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// Models of the provider.
const (
	// Chat repeats the last message, or the prompt, a word a token.
	Chat = "echo-chat"
	// Embedder gives each text the vector (length, 1, 0, 0), scaled to length 1.
	Embedder = "lengths"
	// Identity gives its input tensors back, as OUTPUT… of INPUT….
	Identity = "identity"
)

// Provider answers from the input alone.
type Provider struct {
	models.Unsupported
	// ProviderName is what Name gives.
	ProviderName string
	// Wait is slept before each token.
	Wait time.Duration
	// Fail, where set, is what every call fails with.
	Fail error
	// FailAfter, where over 0, is after how many tokens Fail comes; 0: at once.
	FailAfter int
	// Cancelled counts generations that ended because their context did.
	Cancelled atomic.Int32
	// Last is the last generation asked for.
	Last atomic.Pointer[v1.GenerateRequest]
	// unloaded is Identity's state.
	unloaded atomic.Bool
}

// Name is unique.
func (provider *Provider) Name() string { return provider.ProviderName }

// Models lists the three.
func (provider *Provider) Models(context.Context) ([]*v1.Model, error) {
	ready := v1.ModelState_MODEL_STATE_READY
	state := ready
	if provider.unloaded.Load() {
		state = v1.ModelState_MODEL_STATE_UNLOADED
	}
	return []*v1.Model{
		{Name: Chat, Version: "1", Versions: []string{"1"}, Backend: "test", State: ready,
			Capabilities: []string{"generate"}, ContextLength: 2048},
		{Name: Embedder, Version: "1", Versions: []string{"1"}, Backend: "test", State: ready,
			Capabilities: []string{"embed", "rerank"}},
		{Name: Identity, Version: "3", Versions: []string{"3", "2"}, Backend: "test", State: state,
			Capabilities: []string{"infer"},
			Inputs:       []*v1.TensorInfo{{Name: "INPUT0", Datatype: "FP32", Shape: []int64{-1, 4}}},
			Outputs:      []*v1.TensorInfo{{Name: "OUTPUT0", Datatype: "FP32", Shape: []int64{-1, 4}}}},
	}, nil
}

// Generate repeats words.
func (provider *Provider) Generate(
	ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error,
) error {
	provider.Last.Store(proto.Clone(request).(*v1.GenerateRequest))
	if provider.Fail != nil && provider.FailAfter == 0 {
		return provider.Fail
	}
	text := request.GetPrompt()
	if count := len(request.GetMessages()); count > 0 {
		text = request.GetMessages()[count-1].GetContent()
	}
	if tokens := request.GetPromptTokens(); tokens != nil {
		text = fmt.Sprint(tokens.GetIds())
	}
	words := strings.SplitAfter(text, " ")
	finish := v1.FinishReason_FINISH_REASON_STOP
	if request.MaxTokens != nil && int(request.GetMaxTokens()) < len(words) {
		words, finish = words[:request.GetMaxTokens()], v1.FinishReason_FINISH_REASON_LENGTH
	}
	for position, word := range words {
		if err := provider.pause(ctx); err != nil {
			return err
		}
		if provider.Fail != nil && position == provider.FailAfter {
			return provider.Fail
		}
		for choice := range max(request.GetN(), 1) {
			piece := &v1.GenerateResponse{Index: choice, Text: word, Ids: []uint32{uint32(position)}}
			if request.TopLogprobs != nil {
				piece.Logprobs = []*v1.TokenLogprob{logprobOf(uint32(position), word, int(request.GetTopLogprobs()))}
			}
			if position == len(words)-1 {
				piece.FinishReason = finish
			}
			if err := send(piece); err != nil {
				return err
			}
		}
	}
	count := uint32(len(words))
	return send(&v1.GenerateResponse{Usage: &v1.Usage{
		PromptTokens: count, CompletionTokens: count * max(request.GetN(), 1), CachedTokens: 1,
	}})
}

func logprobOf(id uint32, word string, top int) *v1.TokenLogprob {
	token := &v1.TokenLogprob{Id: id, Piece: []byte(word), Logprob: -0.5}
	for rank := range top {
		piece := fmt.Appendf(nil, "%s%d", word, rank)
		token.Top = append(token.Top, &v1.TokenLogprob_Top{Id: id, Piece: piece, Logprob: -0.5 - float32(rank)})
	}
	return token
}

func (provider *Provider) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		provider.Cancelled.Add(1)
		return ctx.Err()
	case <-time.After(provider.Wait):
		return nil
	}
}

// Embed gives lengths.
func (provider *Provider) Embed(_ context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	if provider.Fail != nil {
		return nil, provider.Fail
	}
	var lengths []int
	for _, text := range request.GetTexts() {
		lengths = append(lengths, len(text))
	}
	for _, tokens := range request.GetTokens() {
		lengths = append(lengths, len(tokens.GetIds()))
	}
	dimensions := 4
	if request.GetDimensions() > 0 {
		dimensions = int(request.GetDimensions())
	}
	response := &v1.EmbedResponse{Model: request.GetModel(), Version: "1", Dimensions: uint32(dimensions)}
	for _, length := range lengths {
		row := make([]float32, max(dimensions, 2))
		norm := math.Hypot(float64(length), 1)
		row[0], row[1] = float32(float64(length)/norm), float32(1/norm)
		for _, value := range row[:dimensions] {
			response.Vectors = binary.LittleEndian.AppendUint32(response.Vectors, math.Float32bits(value))
		}
		response.TokenCounts = append(response.TokenCounts, uint32(length))
	}
	return response, nil
}

// Rerank puts long documents first.
func (provider *Provider) Rerank(_ context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	response := &v1.RerankResponse{Model: request.GetModel(), Usage: &v1.Usage{PromptTokens: 7}}
	for index, document := range request.GetDocuments() {
		response.Results = append(response.Results, &v1.RerankResponse_Result{
			Index: uint32(index), RelevanceScore: float64(len(document)),
		})
	}
	slices.SortStableFunc(response.Results, func(a, b *v1.RerankResponse_Result) int {
		return int(b.GetRelevanceScore() - a.GetRelevanceScore())
	})
	if top := int(request.GetTopN()); top > 0 && top < len(response.Results) {
		response.Results = response.Results[:top]
	}
	return response, nil
}

// Infer gives its inputs back.
func (provider *Provider) Infer(_ context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	if provider.Fail != nil {
		return nil, provider.Fail
	}
	if request.GetModel() != Identity {
		return nil, &engine.Error{Status: enginev1.Status_STATUS_UNSUPPORTED, Message: "It takes no tensors."}
	}
	response := &v1.InferResponse{Model: request.GetModel(), Version: "3", Id: request.GetId()}
	for _, input := range request.GetInputs() {
		output := proto.Clone(input).(*v1.Tensor)
		output.Name = strings.Replace(input.GetName(), "INPUT", "OUTPUT", 1)
		if len(request.GetOutputs()) == 0 || slices.Contains(request.GetOutputs(), output.GetName()) {
			response.Outputs = append(response.Outputs, output)
		}
	}
	return response, nil
}

// Tokenize gives a token a byte.
func (provider *Provider) Tokenize(_ context.Context, request *v1.TokenizeRequest) (*v1.TokenizeResponse, error) {
	response := &v1.TokenizeResponse{}
	for _, character := range []byte(request.GetText()) {
		response.Ids = append(response.Ids, uint32(character))
		response.Pieces = append(response.Pieces, []byte{character})
	}
	return response, nil
}

// Load makes Identity ready.
func (provider *Provider) Load(ctx context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	provider.unloaded.Store(false)
	listed, _ := provider.Models(ctx)
	return listed[2], nil
}

// Unload makes Identity not ready.
func (provider *Provider) Unload(context.Context, *v1.UnloadModelRequest) error {
	provider.unloaded.Store(true)
	return nil
}

var _ models.Provider = (*Provider)(nil)
