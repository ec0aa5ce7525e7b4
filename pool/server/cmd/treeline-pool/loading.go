package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

const (
	// loadingLook is how often the state of loading models is looked at.
	loadingLook = 200 * time.Millisecond
	// progressEvery is how often a model that still loads is logged again.
	progressEvery = 5 * time.Second
)

// loading waits for the startup models, and logs each change of their states.
type loading struct {
	catalogue *models.Catalogue
	// wanted are the models that must be ready, as --load names them.
	wanted []string
	// toleratesFailed lets the node be ready although a model could not be loaded.
	toleratesFailed bool
	log             *slog.Logger
	begun           time.Time
	states          map[string]v1.ModelState
	told            time.Time
}

// wait returns when the startup models are ready. Where one has failed it waits on: it may be repaired and loaded while the
// node runs. An error says that a wanted model does not exist.
func (loading *loading) wait(ctx context.Context) error {
	loading.begun, loading.states = time.Now(), map[string]v1.ModelState{}
	ticker := time.NewTicker(loadingLook)
	defer ticker.Stop()
	for {
		loading.catalogue.Refresh(ctx)
		listed, err := loading.catalogue.Models(ctx)
		if err != nil {
			return err
		}
		loading.tell(listed)
		if isDone, err := progress(listed, loading.wanted, loading.toleratesFailed); isDone || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell logs what has changed, and every now and then what still loads.
func (loading *loading) tell(listed []*v1.Model) {
	isTime := time.Since(loading.told) >= progressEvery
	for _, model := range listed {
		key := model.GetName() + ":" + model.GetVersion()
		isLoading := model.GetState() == v1.ModelState_MODEL_STATE_LOADING
		if loading.states[key] == model.GetState() && !(isLoading && isTime) {
			continue
		}
		loading.states[key] = model.GetState()
		if isLoading {
			loading.told = time.Now()
		}
		level := slog.LevelInfo
		if model.GetState() == v1.ModelState_MODEL_STATE_FAILED {
			level = slog.LevelError
		}
		loading.log.Log(context.Background(), level, "model "+stateWord(model.GetState()),
			"model", model.GetName(), "version", model.GetVersion(), "backend", model.GetBackend(),
			"provider", model.GetProvider(), "memory_bytes", model.GetMemoryBytes(), "reason", model.GetReason(),
			"elapsed_ms", time.Since(loading.begun).Milliseconds())
	}
}

// progress tells whether loading is done: nothing loads, no model has failed in all its versions (unless that is
// tolerated), and each wanted model is ready. An error says that it never will be.
func progress(listed []*v1.Model, wanted []string, toleratesFailed bool) (isDone bool, err error) {
	isReady, hasFailed := map[string]bool{}, map[string]bool{}
	isDone = true
	for _, model := range listed {
		switch model.GetState() {
		case v1.ModelState_MODEL_STATE_LOADING:
			isDone = false
		case v1.ModelState_MODEL_STATE_READY:
			isReady[model.GetName()], isReady[model.GetName()+":"+model.GetVersion()] = true, true
		case v1.ModelState_MODEL_STATE_FAILED:
			hasFailed[model.GetName()] = true
		}
	}
	for name := range hasFailed {
		isDone = isDone && (isReady[name] || toleratesFailed)
	}
	for _, name := range wanted {
		if !isListed(listed, name) {
			return false, fmt.Errorf("there is no model %q to load", name)
		}
		isDone = isDone && isReady[name]
	}
	return isDone, nil
}

// isListed tells whether there is a model that --load names: `name` or `name:version`.
func isListed(listed []*v1.Model, wanted string) bool {
	name, number, _ := strings.Cut(wanted, ":")
	for _, model := range listed {
		if model.GetName() == name && (number == "" || model.GetVersion() == number) {
			return true
		}
	}
	return false
}
