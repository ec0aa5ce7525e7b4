//go:build ffi

package ffi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
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

func TestAMillionCallsLeakNothing(t *testing.T) {
	enginetest.LeakNothing(t, openForTest(t), nil)
}

func TestALibraryOfAnotherContractIsRefusedWithBothNamed(t *testing.T) {
	for _, other := range []engine.Contract{
		{ABIVersion: engine.ABIVersion + 1, Hash: engine.Built.Hash},
		{ABIVersion: engine.ABIVersion, Hash: "0123456789abcdef"},
	} {
		_, err := Open(Options{Settings: enginetest.Settings(t), Contract: other})
		var refusal *engine.Error
		if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_VERSION_MISMATCH {
			t.Fatalf("%v was not refused: %v", other, err)
		}
		if !strings.Contains(refusal.Message, other.Hash) || !strings.Contains(refusal.Message, engine.Built.Hash) {
			t.Errorf("%q does not name both", refusal.Message)
		}
	}
}

func TestSettingsThatAreNoneAreRefused(t *testing.T) {
	_, err := Open(Options{Settings: engine.Settings{Repository: "/nonexistent", Load: []string{"no-such-model"}}})
	var refusal *engine.Error
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("%v is no *engine.Error", err)
	}
}

func TestAnEngineThatWasClosedRefusesCalls(t *testing.T) {
	opened, err := Open(Options{Settings: enginetest.Settings(t)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := opened.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = opened.Call(t.Context(), &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	var refusal *engine.Error
	if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_UNAVAILABLE {
		t.Fatal(err)
	}
}

func TestCloseWaitsForARunningStreamUntilItsTimeIsOver(t *testing.T) {
	opened, err := Open(Options{Settings: enginetest.Settings(t)})
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		var once bool
		ended <- opened.Stream(ctx, enginetest.Generate(t, enginetest.SlowModel, "x", 10_000_000), func(*engine.Reply) error {
			if !once {
				once = true
				close(begun)
			}
			return nil
		})
	}()
	<-begun
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := opened.Close(short); err == nil {
		t.Fatal("closed under a running stream")
	}
	stop()
	if err := <-ended; err == nil {
		t.Fatal("the stream ended by itself")
	}
}
