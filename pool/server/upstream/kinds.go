package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// modelsMax bounds a list of models.
const modelsMax = 10_000

// openAIModels reads `GET /v1/models`; vLLM tells the context there too.
func openAIModels(ctx context.Context, client *client, capabilities ...string) []*v1.Model {
	var answer struct {
		Data []struct {
			ID              string `json:"id"`
			ContextLength   uint32 `json:"max_model_len"`
			LlamaCPPDetails struct {
				ContextLength uint32 `json:"n_ctx_train"`
			} `json:"meta"`
		} `json:"data"`
	}
	if !client.probeJSON(ctx, "/v1/models", &answer) {
		return nil
	}
	listed := []*v1.Model{}
	for _, model := range answer.Data {
		if len(listed) == modelsMax {
			break
		}
		listed = append(listed, &v1.Model{
			Name: model.ID, State: v1.ModelState_MODEL_STATE_READY, Capabilities: capabilities,
			ContextLength: max(model.ContextLength, model.LlamaCPPDetails.ContextLength),
		})
	}
	return listed
}

type vllm struct{}

// read asks /health, /v1/models and /metrics of vLLM's OpenAI server.
func (vllm) read(ctx context.Context, client *client, metricsURL string, _ *state) *state {
	if client.probe(ctx, http.MethodGet, client.baseURL+"/health", nil) == nil {
		return nil
	}
	listed := openAIModels(ctx, client, "generate", "embed", "rerank")
	if listed == nil {
		return nil
	}
	read := &state{models: listed}
	values := gauges(client.probe(ctx, http.MethodGet, metricsURL, nil))
	read.load.Running = uint32(first(values, "vllm:num_requests_running"))
	read.load.Waiting = uint32(first(values, "vllm:num_requests_waiting"))
	read.load.KvCacheUsage = first(values, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
	return read
}

type tei struct{}

// read asks /health, /info and /metrics of Text Embeddings Inference, which has one model.
func (tei) read(ctx context.Context, client *client, metricsURL string, _ *state) *state {
	if client.probe(ctx, http.MethodGet, client.baseURL+"/health", nil) == nil {
		return nil
	}
	var answer struct {
		Model     string                     `json:"model_id"`
		TokensMax uint32                     `json:"max_input_length"`
		Kind      map[string]json.RawMessage `json:"model_type"`
	}
	if !client.probeJSON(ctx, "/info", &answer) || answer.Model == "" {
		return nil
	}
	capability := "embed"
	if _, ranks := answer.Kind["reranker"]; ranks {
		capability = "rerank"
	}
	read := &state{models: []*v1.Model{{
		Name: answer.Model, State: v1.ModelState_MODEL_STATE_READY, Capabilities: []string{capability},
		ContextLength: answer.TokensMax,
	}}}
	values := gauges(client.probe(ctx, http.MethodGet, metricsURL, nil))
	read.load.Waiting = uint32(first(values, "te_queue_size"))
	return read
}

type ollama struct{}

// read asks /api/version, /api/tags (what there is) and /api/ps (what is in memory) of Ollama.
func (ollama) read(ctx context.Context, client *client, _ string, _ *state) *state {
	if client.probe(ctx, http.MethodGet, client.baseURL+"/api/version", nil) == nil {
		return nil
	}
	type list struct {
		Models []struct {
			Name string `json:"name"`
			Size uint64 `json:"size"`
		} `json:"models"`
	}
	var all, loaded list
	if !client.probeJSON(ctx, "/api/tags", &all) {
		return nil
	}
	sizes := map[string]uint64{}
	if client.probeJSON(ctx, "/api/ps", &loaded) {
		for _, model := range loaded.Models {
			sizes[model.Name] = model.Size
		}
	}
	read := &state{}
	for _, model := range all.Models[:min(len(all.Models), modelsMax)] {
		// Ollama loads a model at its first call, so each of them answers.
		read.models = append(read.models, &v1.Model{
			Name: model.Name, State: v1.ModelState_MODEL_STATE_READY, Capabilities: []string{"generate", "embed"},
			MemoryBytes: sizes[model.Name],
		})
	}
	return read
}

type llamaCPP struct{}

// read asks /health, /v1/models and /metrics (served with --metrics) of llama.cpp's server. Its twin for Python has no
// /health, and a list of models interrupts what it streams: while it streams to this node, what it has is known.
func (llamaCPP) read(ctx context.Context, client *client, metricsURL string, known *state) *state {
	status, _ := client.ask(ctx, http.MethodGet, client.baseURL+"/health", nil)
	if status != http.StatusOK && status != http.StatusNotFound {
		return nil
	}
	var listed []*v1.Model
	if client.streams.Load() > 0 && known != nil && known.healthy {
		listed = known.models
	} else if listed = openAIModels(ctx, client, "generate", "embed", "rerank"); listed == nil {
		return nil
	}
	read := &state{models: listed}
	values := gauges(client.probe(ctx, http.MethodGet, metricsURL, nil))
	read.load.Running = uint32(first(values, "llamacpp:requests_processing"))
	read.load.Waiting = uint32(first(values, "llamacpp:requests_deferred"))
	read.load.KvCacheUsage = first(values, "llamacpp:kv_cache_usage_ratio")
	return read
}

type triton struct{}

// read asks /v2/health/ready, the repository's index, each ready model's metadata, and the metrics of Triton.
func (triton) read(ctx context.Context, client *client, metricsURL string, _ *state) *state {
	if client.probe(ctx, http.MethodGet, client.baseURL+"/v2/health/ready", nil) == nil {
		return nil
	}
	data := client.probe(ctx, http.MethodPost, client.baseURL+"/v2/repository/index", []byte("{}"))
	var index []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		State   string `json:"state"`
		Reason  string `json:"reason"`
	}
	if data == nil || json.Unmarshal(data, &index) != nil {
		return nil
	}
	read := &state{}
	for _, entry := range index[:min(len(index), modelsMax)] {
		model := &v1.Model{
			Name: entry.Name, Version: entry.Version, Reason: entry.Reason, State: v1.ModelState_MODEL_STATE_UNLOADED,
			Capabilities: []string{"infer"},
		}
		if strings.EqualFold(entry.State, "READY") {
			model.State = v1.ModelState_MODEL_STATE_READY
			describeTriton(ctx, client, model)
		}
		if !slices.ContainsFunc(read.models, func(known *v1.Model) bool {
			return known.Name == model.Name && known.Version == model.Version
		}) {
			read.models = append(read.models, model)
		}
	}
	values := gauges(client.probe(ctx, http.MethodGet, metricsURL, nil))
	read.load.Waiting = uint32(first(values, "nv_inference_pending_request_count"))
	return read
}
