package main

import (
	"context"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/grpc"
	"treeline.dev/pool/ipc"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rust"
	"treeline.dev/pool/telemetry"
)

// rustEngine is what the node has of the Rust engine; all is nil where it has none.
type rustEngine struct {
	// provider of models.
	provider models.Provider
	// ipc is the door that measures the way to the engine.
	ipc ipcHandler
	// service lets other nodes use it.
	service *grpc.Service
}

// beginEngine opens the Rust engine.
func (pool *running) beginEngine(ctx context.Context) (rustEngine, error) {
	opened, err := openEngine(ctx, surroundings{
		settings: pool.settings, files: pool.files, telemetry: pool.telemetry, log: pool.log,
	})
	if opened == nil || err != nil {
		return rustEngine{}, err
	}
	pool.ending.add("engine", opened.Close)
	measured := measuredEngine{opened, pool.telemetry}
	statistics := rust.NewStatistics(opened)
	pool.background.Go(func() { pool.telemetry.WatchEngine(ctx, rust.Name, statistics.Take) })
	return rustEngine{
		provider: rust.New(rust.Name, measured, statistics),
		ipc:      ipc.New(measured, statistics, pool.bounds()),
		service: &grpc.Service{
			Engine: measured, Statistics: statistics.Peek,
			Enter: func() (func(), error) { return pool.catalogue.Enter() },
		},
	}, nil
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
