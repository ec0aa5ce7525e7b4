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
	log    *slog.Logger
	begun  time.Time
	states map[string]v1.ModelState
	told   time.Time
}

// wait returns when nothing loads any more and all wanted models are ready; an error says which of them failed.
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
		if isDone, err := progress(listed, loading.wanted); isDone || err != nil {
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

// progress tells whether loading is done: nothing loads, and each wanted model is ready in some version.
func progress(listed []*v1.Model, wanted []string) (isDone bool, err error) {
	isDone = true
	for _, model := range listed {
		isDone = isDone && model.GetState() != v1.ModelState_MODEL_STATE_LOADING
	}
	for _, name := range wanted {
		isReady, err := stateOf(listed, name)
		if err != nil {
			return false, err
		}
		isDone = isDone && isReady
	}
	return isDone, nil
}

// stateOf tells whether a model that --load names (`name` or `name:version`) is ready, or why it never will be.
func stateOf(listed []*v1.Model, wanted string) (isReady bool, err error) {
	name, number, _ := strings.Cut(wanted, ":")
	isKnown := false
	for _, model := range listed {
		if model.GetName() != name || number != "" && model.GetVersion() != number {
			continue
		}
		isKnown = true
		switch model.GetState() {
		case v1.ModelState_MODEL_STATE_READY:
			return true, nil
		case v1.ModelState_MODEL_STATE_FAILED:
			err = fmt.Errorf("the model %q cannot be loaded: %s", wanted, model.GetReason())
		}
	}
	if !isKnown {
		err = fmt.Errorf("there is no model %q to load", wanted)
	}
	return false, err
}
