//go:build ffi

package main

import (
	"context"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/ffi"
)

// engineDefault is the kind where --engine says nothing: the engine is linked in.
const engineDefault = "ffi"

func init() {
	engineOpeners["ffi"] = func(_ context.Context, around surroundings) (engine.Engine, error) {
		return orNil(ffi.Open(ffi.Options{Settings: around.settings.engineSettings()}))
	}
}
