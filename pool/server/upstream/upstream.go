// Package upstream answers for models of engines made by others: vLLM, Text Embeddings Inference, Triton, Ollama and
// llama.cpp's server. Each becomes a models.Provider; their health, lists of models and load are read and cached, so that
// a fleet of GPUs needs no engine of ours. They batch themselves, so nothing is batched before them.
package upstream

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// stateAge is how long what an engine said of itself is believed.
const stateAge = 2 * time.Second

// state is what an engine said of itself.
type state struct {
	models []*v1.Model
	load   v1.NodeLoad
	readAt time.Time
	// healthy tells that the engine answered; otherwise the models are those it had before.
	healthy bool
}

// engineKind is how an engine of a kind is asked.
type engineKind interface {
	// read asks for health, models and load; nil where the engine is not there or not healthy. known is what it said
	// before, nil where it has not been asked.
	read(ctx context.Context, client *client, metricsURL string, known *state) *state
}

var engines = map[Kind]engineKind{
	VLLM: vllm{}, TEI: tei{}, Triton: triton{}, Ollama: ollama{}, LlamaCPP: llamaCPP{},
}

// Provider is one engine.
type Provider struct {
	models.Unsupported
	configuration Configuration
	client        *client
	kind          engineKind
	now           func() time.Time
	mutex         sync.Mutex
	known         *state
}

// New makes a provider of a checked configuration; key is the engine's, "" for none.
func New(configuration Configuration, key string, now func() time.Time) (*Provider, error) {
	if err := configuration.check(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &Provider{
		configuration: configuration,
		client:        newClient(configuration, key, transport),
		kind:          engines[configuration.Kind],
		now:           now,
	}, nil
}

// Name implements models.Provider.
func (provider *Provider) Name() string { return provider.configuration.Name }

func (provider *Provider) metricsURL() string {
	if provider.configuration.MetricsURL != "" {
		return provider.configuration.MetricsURL
	}
	return provider.client.baseURL + "/metrics"
}

// state is what the engine says of itself, at most stateAge old. An engine that went away has models that are not ready:
// what it had before stays listed, so that callers learn why it does not answer.
func (provider *Provider) state(ctx context.Context) *state {
	provider.mutex.Lock()
	defer provider.mutex.Unlock()
	if provider.known != nil && provider.now().Sub(provider.known.readAt) < stateAge {
		return provider.known
	}
	read := provider.kind.read(ctx, provider.client, provider.metricsURL(), provider.known)
	if read == nil {
		read = &state{}
		if provider.known != nil {
			for _, model := range provider.known.models {
				read.models = append(read.models, lost(model))
			}
		}
	} else {
		read.models, read.healthy = provider.offered(read.models), true
	}
	read.readAt = provider.now()
	provider.known = read
	return read
}

// lost is a model whose engine does not answer.
func lost(model *v1.Model) *v1.Model {
	return &v1.Model{
		Name: model.Name, Version: model.Version, Versions: model.Versions, Backend: model.Backend, Provider: model.Provider,
		Capabilities: model.Capabilities, Inputs: model.Inputs, Outputs: model.Outputs, ContextLength: model.ContextLength,
		State: v1.ModelState_MODEL_STATE_FAILED, Reason: "its engine does not answer",
	}
}

// offered are the models that the configuration lets through, with the provider's name.
func (provider *Provider) offered(all []*v1.Model) []*v1.Model {
	var offered []*v1.Model
	for _, model := range all {
		if wanted := provider.configuration.Models; len(wanted) > 0 && !slices.Contains(wanted, model.Name) {
			continue
		}
		// A model that was taken over from before may be in a caller's hands.
		if model.Provider == "" {
			model.Provider, model.Backend = provider.Name(), string(provider.configuration.Kind)
		}
		offered = append(offered, model)
	}
	return offered
}

// Models implements models.Provider.
func (provider *Provider) Models(ctx context.Context) ([]*v1.Model, error) {
	return provider.state(ctx).models, nil
}

// NodeLoad implements models.Provider.
func (provider *Provider) NodeLoad(ctx context.Context) (*v1.NodeLoad, error) {
	load := &provider.state(ctx).load
	return &v1.NodeLoad{Running: load.Running, Waiting: load.Waiting, KvCacheUsage: load.KvCacheUsage}, nil
}

// Embed implements models.Provider.
func (provider *Provider) Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	switch provider.configuration.Kind {
	case Triton:
		return provider.Unsupported.Embed(ctx, request)
	default:
		return embed(ctx, provider.client, request)
	}
}

// Rerank implements models.Provider.
func (provider *Provider) Rerank(ctx context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	switch provider.configuration.Kind {
	case TEI:
		return rerankTEI(ctx, provider.client, request)
	case VLLM, LlamaCPP:
		return rerank(ctx, provider.client, request)
	default:
		return provider.Unsupported.Rerank(ctx, request)
	}
}

// Generate implements models.Provider.
func (provider *Provider) Generate(ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error) error {
	switch provider.configuration.Kind {
	case VLLM, Ollama, LlamaCPP:
		return generate(ctx, provider.client, request, send)
	default:
		return provider.Unsupported.Generate(ctx, request, send)
	}
}

// Infer implements models.Provider.
func (provider *Provider) Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	if provider.configuration.Kind != Triton {
		return provider.Unsupported.Infer(ctx, request)
	}
	return inferTriton(ctx, provider.client, request)
}

// Load implements models.Provider: Triton's models load and unload by its repository API.
func (provider *Provider) Load(ctx context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	if provider.configuration.Kind != Triton {
		return provider.Unsupported.Load(ctx, request)
	}
	if err := repositoryTriton(ctx, provider.client, request.Model, "load"); err != nil {
		return nil, err
	}
	provider.forget()
	for _, model := range provider.state(ctx).models {
		if model.Name == request.Model {
			return model, nil
		}
	}
	return nil, failed(enginev1.Status_STATUS_MODEL_NOT_READY, "model", "The model was loaded, and its engine does not list it.")
}

// Unload implements models.Provider.
func (provider *Provider) Unload(ctx context.Context, request *v1.UnloadModelRequest) error {
	if provider.configuration.Kind != Triton {
		return provider.Unsupported.Unload(ctx, request)
	}
	defer provider.forget()
	return repositoryTriton(ctx, provider.client, request.Model, "unload")
}

// forget makes the next question go to the engine.
func (provider *Provider) forget() {
	provider.mutex.Lock()
	defer provider.mutex.Unlock()
	if provider.known != nil {
		provider.known.readAt = time.Time{}
	}
}
