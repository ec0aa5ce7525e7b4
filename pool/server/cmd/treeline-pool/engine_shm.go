package main

import (
	"context"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/shm"
)

func init() {
	engineOpeners["shm"] = func(_ context.Context, around surroundings) (engine.Engine, error) {
		return orNil(shm.Open(shm.Options{
			Program: around.settings.engineProgram, Settings: around.settings.engineSettings(),
			Workers: around.settings.workers,
			OnRestart: func(err error) {
				around.telemetry.WorkerRestarted()
				around.log.Error("an engine's worker has ended and is started again", "reason", err)
			},
		}))
	}
}
