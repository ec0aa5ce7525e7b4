//go:build ffi

package ffi

import (
	"context"
	"testing"
	"time"

	"treeline.dev/pool/engine/enginetest"
)

// openForTest opens an engine that the test's end closes.
func openForTest(t testing.TB) *Engine {
	t.Helper()
	opened, err := Open(Options{Settings: enginetest.Settings(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := opened.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return opened
}

func TestTheLibraryDoesWhatEveryTransportDoes(t *testing.T) {
	enginetest.Run(t, enginetest.Transport{Engine: openForTest(t), InPlace: true, AllInPlace: true})
}
