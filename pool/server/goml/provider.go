package goml

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

const (
	// runningMax is how many calls compute at once; further ones are refused, since these models do not queue.
	runningMax = 64
	// trainingsMax is how many trainings run at once.
	trainingsMax = 2
	// trainingBytesMax bounds the tensors of a training.
	trainingBytesMax = 256 << 20
	// unloadTimeout is how long an unload waits for calls that still run.
	unloadTimeout = 30 * time.Second
)

// loaded is a version that answers, or the reason why it does not.
type loaded struct {
	backend string
	model   Model
	reason  string
	calls   sync.WaitGroup
}

// Provider serves the models of one folder.
type Provider struct {
	models.Unsupported
	repository repository
	backends   map[string]Backend
	running    atomic.Int32
	trainings  chan struct{}

	mutex sync.Mutex
	// versions by model and number. A version that is not here is not loaded.
	versions map[string]map[uint64]*loaded
}

// Open serves the models below folder, and loads the newest version of each. A version that does not load is logged and
// listed with its reason; it hurts no other.
func Open(folder string, backends ...Backend) (*Provider, error) {
	provider := &Provider{
		repository: repository{folder: folder},
		backends:   map[string]Backend{},
		trainings:  make(chan struct{}, trainingsMax),
		versions:   map[string]map[uint64]*loaded{},
	}
	for _, backend := range backends {
		provider.backends[backend.Name()] = backend
	}
	names, err := provider.repository.models()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if versions := provider.repository.versions(name); len(versions) > 0 {
			if _, err := provider.load(name, versions[0]); err != nil {
				slog.Error("a model did not load", "model", name, "version", versions[0], "reason", err.Error())
			}
		}
	}
	return provider, nil
}

// Name implements models.Provider.
func (provider *Provider) Name() string { return "go" }

// Models implements models.Provider.
func (provider *Provider) Models(context.Context) ([]*v1.Model, error) {
	names, err := provider.repository.models()
	if err != nil {
		return nil, err
	}
	var listed []*v1.Model
	for _, name := range names {
		if versions := provider.repository.versions(name); len(versions) > 0 {
			listed = append(listed, provider.describe(name, provider.served(name, versions), versions))
		}
	}
	return listed, nil
}

// served is the version that answers where none is asked for: the newest that is loaded, else the newest.
func (provider *Provider) served(model string, versions []uint64) uint64 {
	provider.mutex.Lock()
	defer provider.mutex.Unlock()
	for _, version := range versions {
		if found := provider.versions[model][version]; found != nil && found.model != nil {
			return version
		}
	}
	return versions[0]
}

func (provider *Provider) describe(model string, version uint64, versions []uint64) *v1.Model {
	described := &v1.Model{
		Name: model, Version: strconv.FormatUint(version, 10), Provider: provider.Name(),
		State: v1.ModelState_MODEL_STATE_UNLOADED, Capabilities: []string{"infer"},
	}
	for _, number := range versions {
		described.Versions = append(described.Versions, strconv.FormatUint(number, 10))
	}
	provider.mutex.Lock()
	defer provider.mutex.Unlock()
	found := provider.versions[model][version]
	if found == nil {
		return described
	}
	described.Backend = found.backend
	if found.model == nil {
		described.State, described.Reason = v1.ModelState_MODEL_STATE_FAILED, found.reason
		return described
	}
	signature := found.model.Signature()
	described.State = v1.ModelState_MODEL_STATE_READY
	described.Inputs, described.Outputs, described.MemoryBytes = signature.Inputs, signature.Outputs, signature.MemoryBytes
	return described
}

// load makes a version answer.
func (provider *Provider) load(model string, version uint64) (*loaded, error) {
	made := &loaded{}
	backend, source, err := provider.repository.source(model, version)
	made.backend = backend
	if err == nil {
		if maker, known := provider.backends[backend]; known {
			err = Guard(backend, func() (err error) {
				made.model, err = maker.Load(source)
				return err
			})
		} else {
			err = errors.New("there is no backend " + strconv.Quote(backend) + " on this node")
		}
	}
	if err != nil {
		made.model, made.reason = nil, err.Error()
	}
	provider.mutex.Lock()
	if provider.versions[model] == nil {
		provider.versions[model] = map[uint64]*loaded{}
	}
	before := provider.versions[model][version]
	provider.versions[model][version] = made
	provider.mutex.Unlock()
	closeLoaded(before)
	return made, err
}

// closeLoaded ends a version that is no longer in the table, once its calls have ended or their time is up. What still
// runs then keeps its memory: freeing it under a call would be worse than losing it.
func closeLoaded(gone *loaded) error {
	if gone == nil || gone.model == nil {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		gone.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return gone.model.Close()
	case <-time.After(unloadTimeout):
		return errors.New("goml: calls still ran when their time was up")
	}
}

// take finds the version for a call and counts the call; done must be called at its end.
func (provider *Provider) take(model, version string) (found *loaded, number uint64, done func(), err error) {
	versions := provider.repository.versions(model)
	if len(versions) == 0 {
		return nil, 0, nil, failure(enginev1.Status_STATUS_MODEL_NOT_FOUND, "model", "No model is named %q.", model)
	}
	if version == "" {
		number = provider.served(model, versions)
	} else if number, err = parseVersion(model, version, versions); err != nil {
		return nil, 0, nil, err
	}
	provider.mutex.Lock()
	defer provider.mutex.Unlock()
	found = provider.versions[model][number]
	if found == nil || found.model == nil {
		reason := "it is not loaded"
		if found != nil {
			reason = found.reason
		}
		return nil, 0, nil, failure(enginev1.Status_STATUS_MODEL_NOT_READY, "model", "%s version %d does not answer: %s.", model, number, reason)
	}
	found.calls.Add(1)
	return found, number, found.calls.Done, nil
}

func parseVersion(model, version string, versions []uint64) (uint64, error) {
	number, err := strconv.ParseUint(version, 10, 63)
	if err == nil {
		for _, known := range versions {
			if known == number {
				return number, nil
			}
		}
	}
	return 0, failure(enginev1.Status_STATUS_MODEL_NOT_FOUND, "version", "%s has no version %q.", model, version)
}

// Infer implements models.Provider.
func (provider *Provider) Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error) {
	if provider.running.Add(1) > runningMax {
		provider.running.Add(-1)
		return nil, failure(enginev1.Status_STATUS_OVERLOADED, "", "All %d places for Go models are taken; try again.", runningMax)
	}
	defer provider.running.Add(-1)
	for _, tensor := range request.Inputs {
		if err := tensors.Check(tensor); err != nil {
			return nil, err
		}
	}
	found, version, done, err := provider.take(request.Model, request.Version)
	if err != nil {
		return nil, err
	}
	defer done()
	var outputs []*v1.Tensor
	err = Guard(found.backend, func() (err error) {
		outputs, err = found.model.Infer(ctx, request.Inputs)
		return err
	})
	if err == nil {
		outputs, err = wanted(outputs, request.Outputs)
	}
	if err != nil {
		return nil, asEngineError(err)
	}
	return &v1.InferResponse{Model: request.Model, Version: strconv.FormatUint(version, 10), Id: request.Id, Outputs: outputs}, nil
}

// wanted picks the outputs that were asked for; all where none was.
func wanted(outputs []*v1.Tensor, names []string) ([]*v1.Tensor, error) {
	if len(names) == 0 {
		return outputs, nil
	}
	picked := make([]*v1.Tensor, 0, len(names))
	for _, name := range names {
		tensor, err := Named(outputs, name)
		if err != nil {
			return nil, Invalid("outputs", "The model has no output %q.", name)
		}
		picked = append(picked, tensor)
	}
	return picked, nil
}

// asEngineError keeps errors that have a reason; all others are faults of ours or of a library.
func asEngineError(err error) error {
	var known *engine.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return failure(enginev1.Status_STATUS_DEADLINE_EXCEEDED, "", "The deadline passed before the answer was there.")
	case errors.Is(err, context.Canceled):
		return failure(enginev1.Status_STATUS_CANCELLED, "", "The call was cancelled.")
	default:
		return failure(enginev1.Status_STATUS_INTERNAL, "", "%s.", err.Error())
	}
}

// Load implements models.Provider.
func (provider *Provider) Load(_ context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	versions := provider.repository.versions(request.Model)
	if len(versions) == 0 {
		return nil, failure(enginev1.Status_STATUS_MODEL_NOT_FOUND, "model", "No model is named %q.", request.Model)
	}
	version := versions[0]
	if request.Version != "" {
		var err error
		if version, err = parseVersion(request.Model, request.Version, versions); err != nil {
			return nil, err
		}
	}
	if _, err := provider.load(request.Model, version); err != nil {
		return nil, failure(enginev1.Status_STATUS_MODEL_NOT_READY, "model", "%s version %d did not load: %s.", request.Model, version, err)
	}
	return provider.describe(request.Model, version, versions), nil
}

// Unload implements models.Provider.
func (provider *Provider) Unload(_ context.Context, request *v1.UnloadModelRequest) error {
	versions := provider.repository.versions(request.Model)
	if len(versions) == 0 {
		return failure(enginev1.Status_STATUS_MODEL_NOT_FOUND, "model", "No model is named %q.", request.Model)
	}
	if request.Version != "" {
		version, err := parseVersion(request.Model, request.Version, versions)
		if err != nil {
			return err
		}
		versions = []uint64{version}
	}
	var failed error
	for _, version := range versions {
		provider.mutex.Lock()
		gone := provider.versions[request.Model][version]
		delete(provider.versions[request.Model], version)
		provider.mutex.Unlock()
		failed = errors.Join(failed, closeLoaded(gone))
	}
	return failed
}

// Train implements models.Provider: a new version, whole or not at all, that answers at once.
func (provider *Provider) Train(ctx context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error) {
	if !modelName.MatchString(request.Model) {
		return nil, Invalid("model", "A model's name is 1 to 128 letters, digits, dots, dashes and underscores.")
	}
	backend, known := provider.backends[request.Backend]
	if !known {
		return nil, Invalid("backend", "There is no backend %q here.", request.Backend)
	}
	if err := checkTraining(request.Tensors); err != nil {
		return nil, err
	}
	select {
	case provider.trainings <- struct{}{}:
		defer func() { <-provider.trainings }()
	default:
		return nil, failure(enginev1.Status_STATUS_OVERLOADED, "", "%d trainings run already; try again.", trainingsMax)
	}
	version, trained, err := provider.repository.save(request.Model, backend.Name(), func(folder string) (trained Trained, err error) {
		err = Guard(backend.Name(), func() (err error) {
			trained, err = backend.Train(ctx, request, folder)
			return err
		})
		return trained, err
	})
	if err != nil {
		return nil, asEngineError(err)
	}
	if _, err := provider.load(request.Model, version); err != nil {
		return nil, failure(enginev1.Status_STATUS_INTERNAL, "", "The trained version does not load: %s.", err)
	}
	model := provider.describe(request.Model, version, provider.repository.versions(request.Model))
	return &v1.TrainModelResponse{Model: model, Metrics: trained.Metrics}, nil
}

func checkTraining(given []*v1.Tensor) error {
	bytes := 0
	for _, tensor := range given {
		if err := tensors.Check(tensor); err != nil {
			return err
		}
		bytes += len(tensor.Data)
	}
	if bytes > trainingBytesMax {
		return Invalid("tensors", "A training has at most %d bytes of tensors, not %d.", trainingBytesMax, bytes)
	}
	return nil
}

// NodeLoad implements models.Provider.
func (provider *Provider) NodeLoad(context.Context) (*v1.NodeLoad, error) {
	return &v1.NodeLoad{Running: uint32(provider.running.Load())}, nil
}

// Close unloads everything.
func (provider *Provider) Close() error {
	provider.mutex.Lock()
	versions := provider.versions
	provider.versions = map[string]map[uint64]*loaded{}
	provider.mutex.Unlock()
	var failed error
	for _, numbers := range versions {
		for _, gone := range numbers {
			failed = errors.Join(failed, closeLoaded(gone))
		}
	}
	return failed
}
