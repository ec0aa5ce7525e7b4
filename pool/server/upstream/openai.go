package upstream

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// completionQuestion is OpenAI's request, chat or text, with the fields that vLLM and llama.cpp add to it.
type completionQuestion struct {
	Model             string             `json:"model"`
	Messages          []chatMessage      `json:"messages,omitempty"`
	Prompt            any                `json:"prompt,omitempty"`
	Stream            bool               `json:"stream"`
	StreamOptions     map[string]bool    `json:"stream_options"`
	Temperature       *float32           `json:"temperature,omitempty"`
	TopP              *float32           `json:"top_p,omitempty"`
	TopK              *uint32            `json:"top_k,omitempty"`
	MinP              *float32           `json:"min_p,omitempty"`
	PresencePenalty   *float32           `json:"presence_penalty,omitempty"`
	FrequencyPenalty  *float32           `json:"frequency_penalty,omitempty"`
	RepetitionPenalty *float32           `json:"repetition_penalty,omitempty"`
	Seed              *uint64            `json:"seed,omitempty"`
	LogitBias         map[string]float32 `json:"logit_bias,omitempty"`
	MaxTokens         *uint32            `json:"max_tokens,omitempty"`
	Stop              []string           `json:"stop,omitempty"`
	N                 uint32             `json:"n,omitempty"`
	Logprobs          any                `json:"logprobs,omitempty"`
	TopLogprobs       *uint32            `json:"top_logprobs,omitempty"`
	ResponseFormat    any                `json:"response_format,omitempty"`
	Echo              bool               `json:"echo,omitempty"`
	IgnoreEOS         bool               `json:"ignore_eos,omitempty"`
}

type chatMessage struct {
	Role       string          `json:"role"`
	Content    string          `json:"content"`
	Name       string          `json:"name,omitempty"`
	ToolCalls  json.RawMessage `json:"tool_calls,omitempty"`
	ToolCallID string          `json:"tool_call_id,omitempty"`
}

// question puts a request into OpenAI's form, and tells the path it goes to.
func question(request *v1.GenerateRequest) (asked completionQuestion, path string, err error) {
	if request.ToolsJson != "" {
		// These engines read calls of tools themselves; what they make of them is not translated here.
		return asked, "", failed(enginev1.Status_STATUS_UNSUPPORTED, "tools", "Tools are not passed on to this model's engine.")
	}
	sampling := request.Sampling
	if sampling == nil {
		sampling = &v1.Sampling{}
	}
	asked = completionQuestion{
		Model: request.Model, Stream: true, StreamOptions: map[string]bool{"include_usage": true},
		Temperature: sampling.Temperature, TopP: sampling.TopP, TopK: sampling.TopK, MinP: sampling.MinP,
		PresencePenalty: sampling.PresencePenalty, FrequencyPenalty: sampling.FrequencyPenalty,
		RepetitionPenalty: sampling.RepetitionPenalty, Seed: sampling.Seed, MaxTokens: request.MaxTokens,
		Stop: request.Stop, N: request.N, Echo: request.Echo, IgnoreEOS: request.IgnoreEos,
	}
	if len(sampling.LogitBias) > 0 {
		asked.LogitBias = map[string]float32{}
		for token, bias := range sampling.LogitBias {
			asked.LogitBias[strconv.FormatUint(uint64(token), 10)] = bias
		}
	}
	if asked.ResponseFormat, err = responseFormat(request.JsonSchema); err != nil {
		return asked, "", err
	}
	switch {
	case request.Prompt != nil:
		asked.Prompt, asked.Logprobs = *request.Prompt, textLogprobs(request.TopLogprobs)
		return asked, "/v1/completions", nil
	case request.PromptTokens != nil:
		asked.Prompt, asked.Logprobs = request.PromptTokens.Ids, textLogprobs(request.TopLogprobs)
		return asked, "/v1/completions", nil
	default:
		asked.Messages = chatMessages(request.Messages)
		if request.TopLogprobs != nil {
			asked.Logprobs, asked.TopLogprobs = true, request.TopLogprobs
		}
		return asked, "/v1/chat/completions", nil
	}
}

func textLogprobs(top *uint32) any {
	if top == nil {
		return nil
	}
	return *top
}

func responseFormat(schema string) (any, error) {
	switch schema {
	case "":
		return nil, nil
	case "{}":
		return map[string]string{"type": "json_object"}, nil
	}
	if !json.Valid([]byte(schema)) {
		return nil, failed(enginev1.Status_STATUS_INVALID_ARGUMENT, "json_schema", "The schema is not JSON.")
	}
	named := map[string]any{"name": "answer", "schema": json.RawMessage(schema), "strict": true}
	return map[string]any{"type": "json_schema", "json_schema": named}, nil
}

func chatMessages(messages []*v1.Message) []chatMessage {
	made := make([]chatMessage, len(messages))
	for index, message := range messages {
		made[index] = chatMessage{Role: message.Role, Content: message.Content, Name: message.Name, ToolCallID: message.ToolCallId}
		if message.ToolCallsJson != "" && json.Valid([]byte(message.ToolCallsJson)) {
			made[index].ToolCalls = json.RawMessage(message.ToolCallsJson)
		}
	}
	return made
}

// embed calls `POST /v1/embeddings`, which all of these engines have.
func embed(ctx context.Context, client *client, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	asked := map[string]any{"model": request.Model, "input": embedInput(request), "encoding_format": "float"}
	if request.Dimensions > 0 {
		asked["dimensions"] = request.Dimensions
	}
	var answer struct {
		Data []struct {
			Index     int             `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
	}
	if err := client.postJSON(ctx, "/v1/embeddings", asked, &answer); err != nil {
		return nil, err
	}
	inputs := len(request.Texts) + len(request.Tokens)
	response := &v1.EmbedResponse{Model: request.Model}
	rows := make([][]float32, inputs)
	for _, item := range answer.Data {
		if item.Index >= 0 && item.Index < inputs {
			rows[item.Index] = embeddingOf(item.Embedding)
		}
	}
	for _, row := range rows {
		if len(row) == 0 || len(row) != len(rows[0]) {
			return nil, failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine left embeddings out.")
		}
		for _, value := range row {
			response.Vectors = binary.LittleEndian.AppendUint32(response.Vectors, math.Float32bits(value))
		}
	}
	if inputs > 0 {
		response.Dimensions = uint32(len(rows[0]))
	}
	return response, nil
}

func embedInput(request *v1.EmbedRequest) any {
	if len(request.Tokens) == 0 {
		return request.Texts
	}
	sequences := make([][]uint32, len(request.Tokens))
	for index, tokens := range request.Tokens {
		sequences[index] = tokens.Ids
	}
	return sequences
}

// embeddingOf reads numbers, or the base64 that some engines send whatever was asked for.
func embeddingOf(raw json.RawMessage) []float32 {
	var values []float32
	if json.Unmarshal(raw, &values) == nil {
		return values
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data)%4 != 0 {
		return nil
	}
	for chunk := range slices.Chunk(data, 4) {
		values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(chunk)))
	}
	return values
}

// rerank calls `POST /v1/rerank` (Jina's form) of vLLM and llama.cpp.
func rerank(ctx context.Context, client *client, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	asked := map[string]any{"model": request.Model, "query": request.Query, "documents": request.Documents}
	if request.TopN > 0 {
		asked["top_n"] = request.TopN
	}
	var answer struct {
		Results []rankedDocument `json:"results"`
		Usage   struct {
			PromptTokens uint32 `json:"prompt_tokens"`
			TotalTokens  uint32 `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := client.postJSON(ctx, "/v1/rerank", asked, &answer); err != nil {
		return nil, err
	}
	tokens := max(answer.Usage.PromptTokens, answer.Usage.TotalTokens)
	return ranked(request, answer.Results, tokens)
}

type rankedDocument struct {
	Index uint32  `json:"index"`
	Score float64 `json:"relevance_score"`
}

// ranked orders the results, best first, and cuts them to the number that was asked for.
func ranked(request *v1.RerankRequest, results []rankedDocument, tokens uint32) (*v1.RerankResponse, error) {
	response := &v1.RerankResponse{Model: request.Model, Usage: &v1.Usage{PromptTokens: tokens}}
	slices.SortStableFunc(results, func(a, b rankedDocument) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		default:
			return 0
		}
	})
	for _, result := range results {
		if int(result.Index) >= len(request.Documents) {
			return nil, failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine ranked a document that there is not.")
		}
		if request.TopN > 0 && len(response.Results) == int(request.TopN) {
			break
		}
		response.Results = append(response.Results, &v1.RerankResponse_Result{Index: result.Index, RelevanceScore: result.Score})
	}
	return response, nil
}

// rerankTEI calls TEI's own `POST /rerank`.
func rerankTEI(ctx context.Context, client *client, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	asked := map[string]any{"query": request.Query, "texts": request.Documents, "truncate": true}
	var answer []struct {
		Index uint32  `json:"index"`
		Score float64 `json:"score"`
	}
	if err := client.postJSON(ctx, "/rerank", asked, &answer); err != nil {
		return nil, err
	}
	results := make([]rankedDocument, len(answer))
	for index, item := range answer {
		results[index] = rankedDocument{Index: item.Index, Score: item.Score}
	}
	return ranked(request, results, 0)
}
