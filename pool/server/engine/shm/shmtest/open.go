// Package shmtest opens real engines for the tests of what stands on them.
package shmtest

import (
	"context"
	"testing"
	"time"

	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/shm"
)

// closeTimeMax is how long an engine may take to end.
const closeTimeMax = 10 * time.Second

// Open starts an engine with the models of enginetest, which the test's end closes. Options may leave out the program and
// the settings.
func Open(t testing.TB, options shm.Options) *shm.Engine {
	t.Helper()
	options.Program = enginetest.Program(t)
	if options.Settings.Repository == "" {
		options.Settings = enginetest.Settings(t)
	}
	opened, err := shm.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeMax)
		defer cancel()
		if err := opened.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return opened
}
