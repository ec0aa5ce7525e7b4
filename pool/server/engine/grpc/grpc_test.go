package grpc

import (
	"context"
	"testing"

	"treeline.dev/pool/engine/enginetest"
)

// open opens an engine that the test's end closes.
func open(t testing.TB, options Options) *Engine {
	t.Helper()
	opened, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return opened
}

func TestAnEngineOnAnotherHostDoesWhatEveryTransportDoes(t *testing.T) {
	opened := open(t, Options{Address: "http://" + enginetest.Listen(t)})
	enginetest.Run(t, enginetest.Transport{Engine: opened})
}
