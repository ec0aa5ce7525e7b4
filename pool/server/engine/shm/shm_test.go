package shm

import (
	"context"
	"testing"
	"time"

	"treeline.dev/pool/engine/enginetest"
)

// open opens an engine that the test's end closes.
func open(t testing.TB, change func(*Options)) *Engine {
	t.Helper()
	options := Options{Program: enginetest.Program(t), Settings: enginetest.Settings(t)}
	if change != nil {
		change(&options)
	}
	opened, err := Open(options)
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

func TestSharedMemoryDoesWhatEveryTransportDoes(t *testing.T) {
	enginetest.Run(t, enginetest.Transport{Engine: open(t, nil), InPlace: true})
}

func TestTwoWorkersDoWhatEveryTransportDoes(t *testing.T) {
	two := open(t, func(options *Options) { options.Workers = 2 })
	enginetest.Run(t, enginetest.Transport{Engine: two, InPlace: true})
}

func TestAMillionCallsLeakNothing(t *testing.T) {
	opened := open(t, nil)
	enginetest.LeakNothing(t, opened, opened.Processes())
	awaitNothingHeld(t, opened)
}
