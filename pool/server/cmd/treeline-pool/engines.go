package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/telemetry"
	"treeline.dev/pool/tlsfiles"
)

// noEngine is the kind of a node that has no Rust engine: Go models, or engines made by others, alone.
const noEngine = "none"

// surroundings are what an engine may use of the node.
type surroundings struct {
	settings  *settings
	files     *tlsfiles.Files
	telemetry *telemetry.Telemetry
	log       *slog.Logger
}

// engineOpeners are the ways to an engine that were compiled in, by the name that --engine gives them. An opener returns
// as soon as the engine answers; its models may still be loading.
var engineOpeners = map[string]func(context.Context, surroundings) (engine.Engine, error){}

// engineKinds are what --engine may say.
func engineKinds() []string {
	return append(slices.Sorted(maps.Keys(engineOpeners)), noEngine)
}

// openEngine gives the engine, or nil where there shall be none.
func openEngine(ctx context.Context, around surroundings) (engine.Engine, error) {
	if around.settings.engine == noEngine {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, around.settings.engineTimeout)
	defer cancel()
	opened, err := engineOpeners[around.settings.engine](ctx, around)
	if err != nil {
		return nil, fmt.Errorf("the engine by %s: %w", around.settings.engine, err)
	}
	around.log.Info("the engine answers", "transport", opened.Transport())
	return opened, nil
}

// engineSettings are how an engine that this process starts is opened.
func (settings *settings) engineSettings() engine.Settings {
	return engine.Settings{
		Repository: settings.models, MemoryBytesMax: settings.memoryBytes, Threads: settings.threads,
		Load: settings.load.values,
	}
}

// orNil keeps a nil pointer of an engine's own type from becoming an engine that is not nil.
func orNil[Opened engine.Engine](opened Opened, err error) (engine.Engine, error) {
	if err != nil {
		return nil, err
	}
	return opened, nil
}
