package main

import (
	"context"

	"treeline.dev/pool/models"
)

func (pool *running) beginEngine(ctx context.Context) (models.Provider, ipcHandler, error) {
	opened, err := openEngine(ctx, surroundings{
		settings: pool.settings, files: pool.files, telemetry: pool.telemetry, log: pool.log,
	})
	if opened == nil || err != nil {
		return nil, nil, err
	}
	pool.ending.add("engine", opened.Close)
	return nil, nil, nil
}
