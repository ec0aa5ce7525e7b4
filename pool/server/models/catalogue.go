package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/telemetry"
	"treeline.dev/pool/toolcalls"
)

const (
	// RunningMaxDefault is how many calls run at once where nothing else is set.
	RunningMaxDefault = 1024
	// refreshEvery is how often Watch asks the providers for their models.
	refreshEvery = 2 * time.Second
	// missRefreshAge bounds how often an unknown name makes the providers be asked again.
	missRefreshAge = 250 * time.Millisecond
)

// Options are what a Catalogue is made of.
type Options struct {
	// Providers in the order of precedence; their names must differ.
	Providers []Provider
	// Aliases are other names of models.
	Aliases map[string]string
	// RunningMax is how many calls may run at once; 0: RunningMaxDefault.
	RunningMax int
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// NewID makes the random part of the id of a call of a tool; nil: 26 characters of the system's randomness.
	NewID func() string
	// Telemetry records each call; nil: nothing is recorded.
	Telemetry *telemetry.Telemetry
	// Log gets what goes wrong in the background; nil: nothing is logged.
	Log *slog.Logger
}

// Catalogue routes calls to the providers by the name of the model. It is a Provider itself, the only one that doors know.
// A call may name `model`, `provider/model`, or an alias. A call's request may get its model's name rewritten.
type Catalogue struct {
	providers []Provider
	aliases   map[string]string
	now       func() time.Time
	newID     func() string
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	gate      *gate
	pace      pace
	reserved  reserved
	routes    atomic.Pointer[routes]
	// refreshing lets one refresh run at a time; the others wait for it and use what it found.
	refreshing sync.Mutex
}

// ErrProviderName is returned for providers without a name, or with one name for two.
var ErrProviderName = errors.New("models: every provider needs a name of its own")

// NewCatalogue makes a catalogue that knows no model until its first refresh, which the first call makes.
func NewCatalogue(options Options) (*Catalogue, error) {
	names := map[string]bool{}
	for _, provider := range options.Providers {
		if provider.Name() == "" || names[provider.Name()] {
			return nil, fmt.Errorf("%w: %q", ErrProviderName, provider.Name())
		}
		names[provider.Name()] = true
	}
	catalogue := &Catalogue{
		providers: options.Providers, aliases: options.Aliases, now: options.Now, log: options.Log,
		newID: options.NewID, telemetry: options.Telemetry,
	}
	if options.RunningMax <= 0 {
		options.RunningMax = RunningMaxDefault
	}
	if catalogue.now == nil {
		catalogue.now = time.Now
	}
	if catalogue.newID == nil {
		catalogue.newID = rand.Text
	}
	if catalogue.log == nil {
		catalogue.log = slog.New(slog.DiscardHandler)
	}
	catalogue.gate = newGate(options.RunningMax)
	return catalogue, nil
}

// Name is "pool": no provider of its own, but all of them.
func (catalogue *Catalogue) Name() string { return "pool" }

// Watch keeps the routes fresh until ctx ends.
func (catalogue *Catalogue) Watch(ctx context.Context) {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		catalogue.Refresh(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Refresh asks all providers for their models now.
func (catalogue *Catalogue) Refresh(ctx context.Context) {
	catalogue.refreshOlder(ctx, 0)
}

// refreshOlder asks the providers unless that was done within `age`, and gives the routes.
func (catalogue *Catalogue) refreshOlder(ctx context.Context, age time.Duration) *routes {
	catalogue.refreshing.Lock()
	defer catalogue.refreshing.Unlock()
	before := catalogue.routes.Load()
	if before != nil && age > 0 && catalogue.now().Sub(before.madeAt) < age {
		return before
	}
	lists := listAll(ctx, catalogue.providers, before, catalogue.log)
	made := makeRoutes(catalogue.providers, lists, catalogue.now())
	catalogue.routes.Store(made)
	return made
}

// Resolve gives the name that an alias stands for; any other name is itself.
func (catalogue *Catalogue) Resolve(name string) string {
	if target, ok := catalogue.aliases[name]; ok {
		return target
	}
	return name
}

// find gives the route of a name. A name that is not known makes the providers be asked once more: it may be new.
func (catalogue *Catalogue) find(ctx context.Context, name string) (route, error) {
	name = catalogue.Resolve(name)
	if known := catalogue.routes.Load(); known != nil {
		if found, ok := known.byName[name]; ok {
			return found, nil
		}
	}
	if found, ok := catalogue.refreshOlder(ctx, missRefreshAge).byName[name]; ok {
		return found, nil
	}
	return route{}, &engine.Error{
		Status:    enginev1.Status_STATUS_MODEL_NOT_FOUND,
		Message:   fmt.Sprintf("There is no model named %q.", Shorten(name)),
		Parameter: "model",
	}
}

// run lets a call in, gives `model` the name that the provider knows, and calls it, watched by the telemetry.
func run[Response any](
	ctx context.Context, catalogue *Catalogue, model *string, watched *watched,
	call func(context.Context, Provider) (Response, error),
) (response Response, err error) {
	if err := catalogue.gate.enter(); err != nil {
		return response, err
	}
	defer catalogue.gate.leave()
	target, err := catalogue.find(ctx, *model)
	if err != nil {
		return response, err
	}
	*model = target.name
	ctx = watched.begin(ctx, catalogue.telemetry, target)
	response, err = call(ctx, target.provider)
	watched.end(err)
	return response, err
}

// Models lists what all providers have, the first provider's first; a name that is taken is shown as `provider/model`.
// The messages are the catalogue's own and must not be changed.
func (catalogue *Catalogue) Models(ctx context.Context) ([]*v1.Model, error) {
	if known := catalogue.routes.Load(); known != nil {
		return known.listed, nil
	}
	return catalogue.refreshOlder(ctx, missRefreshAge).listed, nil
}

// Model describes one model by any name that a call may give. An empty version is the one that answers.
func (catalogue *Catalogue) Model(ctx context.Context, name, version string) (*v1.Model, error) {
	target, err := catalogue.find(ctx, name)
	if err != nil {
		return nil, err
	}
	listed, err := catalogue.Models(ctx)
	if err != nil {
		return nil, err
	}
	var best *v1.Model
	for _, model := range listed {
		bare := model.GetName() == target.name || model.GetName() == target.provider.Name()+"/"+target.name
		if !bare || model.GetProvider() != target.provider.Name() {
			continue
		}
		if version != "" && model.GetVersion() == version {
			return model, nil
		}
		if version == "" && (best == nil || best.GetState() != v1.ModelState_MODEL_STATE_READY) {
			best = model
		}
	}
	if best == nil {
		return nil, &engine.Error{
			Status:    enginev1.Status_STATUS_MODEL_NOT_FOUND,
			Message:   fmt.Sprintf("The model %q has no version %q.", Shorten(name), Shorten(version)),
			Parameter: "version",
		}
	}
	return best, nil
}

// Infer runs a tensor model.
func (catalogue *Catalogue) Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	return run(ctx, catalogue, &request.Model, watch(telemetry.Infer),
		func(ctx context.Context, provider Provider) (*v1.InferResponse, error) {
			return provider.Infer(ctx, request)
		})
}

// Embed turns texts into vectors.
func (catalogue *Catalogue) Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	watched := watch(telemetry.Embeddings)
	watched.outcome.Inputs = len(request.GetTexts()) + len(request.GetTokens())
	return run(ctx, catalogue, &request.Model, watched,
		func(ctx context.Context, provider Provider) (*v1.EmbedResponse, error) {
			response, err := provider.Embed(ctx, request)
			watched.outcome.Usage = &v1.Usage{PromptTokens: sum(response.GetTokenCounts())}
			return response, err
		})
}

func sum(counts []uint32) (total uint32) {
	for _, count := range counts {
		total += count
	}
	return total
}

// Rerank orders documents.
func (catalogue *Catalogue) Rerank(ctx context.Context, request *v1.RerankRequest) (*v1.RerankResponse, error) {
	watched := watch(telemetry.Rerank)
	watched.outcome.Inputs = len(request.GetDocuments())
	return run(ctx, catalogue, &request.Model, watched,
		func(ctx context.Context, provider Provider) (*v1.RerankResponse, error) {
			response, err := provider.Rerank(ctx, request)
			watched.outcome.Usage = response.GetUsage()
			return response, err
		})
}

// Tokenize cuts a text into tokens.
func (catalogue *Catalogue) Tokenize(ctx context.Context, request *v1.TokenizeRequest) (*v1.TokenizeResponse, error) {
	return run(ctx, catalogue, &request.Model, watch(telemetry.Tokenize),
		func(ctx context.Context, provider Provider) (*v1.TokenizeResponse, error) {
			return provider.Tokenize(ctx, request)
		})
}

// Generate generates text. Calls of tools come apart from it, whatever provider the words are from.
func (catalogue *Catalogue) Generate(
	ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error,
) error {
	watched := watchGenerate(request)
	begun, hasBegun := catalogue.now(), false
	paced := func(piece *v1.GenerateResponse) error {
		watched.piece(piece)
		if count := len(piece.GetIds()); count > 0 {
			now := catalogue.now()
			if !hasBegun {
				hasBegun = true
				catalogue.pace.first(now.Sub(begun))
			}
			catalogue.pace.tokens(now, count)
		}
		return send(piece)
	}
	call, read, err := toolcalls.Read(request, catalogue.newID, paced)
	if err != nil {
		return err
	}
	_, err = run(ctx, catalogue, &call.Model, watched,
		func(ctx context.Context, provider Provider) (struct{}, error) {
			return struct{}{}, provider.Generate(ctx, call, read)
		})
	return err
}

// Load loads a version of a model.
func (catalogue *Catalogue) Load(ctx context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	defer catalogue.Refresh(ctx)
	if _, err := catalogue.find(ctx, request.Model); err != nil {
		return catalogue.loadNew(ctx, request, err)
	}
	return run(ctx, catalogue, &request.Model, nil,
		func(ctx context.Context, provider Provider) (*v1.Model, error) { return provider.Load(ctx, request) })
}

// loadNew loads a model that no list shows yet: the first provider that finds it does. unknown is what to say where none does.
func (catalogue *Catalogue) loadNew(ctx context.Context, request *v1.LoadModelRequest, unknown error) (*v1.Model, error) {
	if err := catalogue.gate.enter(); err != nil {
		return nil, err
	}
	defer catalogue.gate.leave()
	refused := unknown
	for _, provider := range catalogue.providers {
		model, err := provider.Load(ctx, request)
		if err == nil {
			return model, nil
		}
		if refused == unknown && !hasStatus(err, enginev1.Status_STATUS_MODEL_NOT_FOUND) && !isUnsupported(err) {
			refused = err
		}
	}
	return nil, refused
}

// Unload takes a version out of service.
func (catalogue *Catalogue) Unload(ctx context.Context, request *v1.UnloadModelRequest) error {
	defer catalogue.Refresh(ctx)
	_, err := run(ctx, catalogue, &request.Model, nil,
		func(ctx context.Context, provider Provider) (struct{}, error) {
			return struct{}{}, provider.Unload(ctx, request)
		})
	return err
}

// Train trains a classic model. Its name may be new, so the backend decides who does it: the provider that has the name,
// or else the first that does not refuse the backend as unsupported.
func (catalogue *Catalogue) Train(ctx context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error) {
	if err := catalogue.gate.enter(); err != nil {
		return nil, err
	}
	defer catalogue.gate.leave()
	defer catalogue.Refresh(ctx)
	providers := catalogue.providers
	if target, err := catalogue.find(ctx, request.GetModel()); err == nil {
		request.Model = target.name
		providers = []Provider{target.provider}
	}
	refused := errUnsupported(request.GetModel(), "be trained")
	for _, provider := range providers {
		response, err := provider.Train(ctx, request)
		switch {
		case hasNoBackend(err):
			refused = err
		case !isUnsupported(err):
			return response, err
		}
	}
	return nil, refused
}

func hasStatus(err error, status enginev1.Status) bool {
	var failed *engine.Error
	return errors.As(err, &failed) && failed.Status == status
}

func isUnsupported(err error) bool { return hasStatus(err, enginev1.Status_STATUS_UNSUPPORTED) }

// hasNoBackend tells that a provider trains, but not by the backend that was named: another may have it.
func hasNoBackend(err error) bool {
	var failed *engine.Error
	return errors.As(err, &failed) && failed.Status == enginev1.Status_STATUS_INVALID_ARGUMENT && failed.Parameter == "backend"
}

// NodeLoad adds up the providers' loads; what none of them measures, the catalogue has measured itself.
func (catalogue *Catalogue) NodeLoad(ctx context.Context) (*v1.NodeLoad, error) {
	running, _ := catalogue.gate.state()
	total := &v1.NodeLoad{Running: uint32(running)}
	for _, provider := range catalogue.providers {
		load, err := provider.NodeLoad(ctx)
		if err != nil {
			catalogue.log.WarnContext(ctx, "load not read", "provider", provider.Name(), "error", err)
			continue
		}
		total.Waiting += load.GetWaiting()
		total.WaitingMax += load.GetWaitingMax()
		total.KvCacheUsage = max(total.GetKvCacheUsage(), load.GetKvCacheUsage())
	}
	total.TokensPerSecond, total.TimeToFirstTokenMs = catalogue.pace.read(catalogue.now())
	return total, nil
}

// Enter lets a call in that goes past the catalogue, straight to an engine of this node; it counts as any other, and must
// leave when it has ended. A draining or full node refuses it.
func (catalogue *Catalogue) Enter() (leave func(), err error) {
	if err := catalogue.gate.enter(); err != nil {
		return nil, err
	}
	return catalogue.gate.leave, nil
}

// Running is how many calls run now.
func (catalogue *Catalogue) Running() int {
	running, _ := catalogue.gate.state()
	return running
}

// Draining tells whether new calls are refused.
func (catalogue *Catalogue) Draining() bool {
	_, draining := catalogue.gate.state()
	return draining
}

// BeginDrain refuses new calls from now on; it does not wait.
func (catalogue *Catalogue) BeginDrain() { catalogue.gate.drain() }

// Drain refuses new calls and waits until those that run have ended, or ctx ends.
func (catalogue *Catalogue) Drain(ctx context.Context) error {
	catalogue.gate.drain()
	return catalogue.gate.wait(ctx)
}

var _ Provider = (*Catalogue)(nil)

// Ready names the models that answer now.
func (catalogue *Catalogue) Ready(ctx context.Context) []string {
	listed, _ := catalogue.Models(ctx)
	var names []string
	for _, model := range listed {
		if model.GetState() == v1.ModelState_MODEL_STATE_READY && !slices.Contains(names, model.GetName()) {
			names = append(names, model.GetName())
		}
	}
	return names
}
