package main

import (
	"context"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/ipc"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rust"
	"treeline.dev/pool/telemetry"
)

// beginEngine opens the Rust engine: a provider of models, and the door that measures the way to it. Both are nil where
// the node has none.
func (pool *running) beginEngine(ctx context.Context) (models.Provider, ipcHandler, error) {
	opened, err := openEngine(ctx, surroundings{
		settings: pool.settings, files: pool.files, telemetry: pool.telemetry, log: pool.log,
	})
	if opened == nil || err != nil {
		return nil, nil, err
	}
	pool.ending.add("engine", opened.Close)
	measured := measuredEngine{opened, pool.telemetry}
	statistics := rust.NewStatistics(opened)
	pool.background.Go(func() { pool.telemetry.WatchEngine(ctx, rust.Name, statistics.Take) })
	return rust.New(rust.Name, measured, statistics), ipc.New(measured, statistics, pool.bounds()), nil
}

// bounds are what a request may be.
func (pool *running) bounds() door.Bounds {
	return door.Bounds{BodyBytesMax: pool.settings.bodyBytesMax}
}

// measuredEngine records what each call with one reply costs at the boundary.
type measuredEngine struct {
	engine.Engine
	telemetry *telemetry.Telemetry
}

// Call calls, and records.
func (measured measuredEngine) Call(ctx context.Context, call *engine.Call) (*engine.Reply, error) {
	reply, err := measured.Engine.Call(ctx, call)
	if err == nil {
		measured.telemetry.Boundary(measured.Transport(), reply.BytesCopied, reply.Elapsed)
	}
	return reply, err
}
