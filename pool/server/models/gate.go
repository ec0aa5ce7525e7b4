package models

import (
	"context"
	"sync"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// gate counts the calls that run, refuses those over the limit, and once it drains, all new ones.
type gate struct {
	mutex    sync.Mutex
	running  int
	max      int
	draining bool
	// idle is closed when the gate drains and nothing runs any more.
	idle chan struct{}
}

func newGate(runningMax int) *gate { return &gate{max: runningMax, idle: make(chan struct{})} }

// enter lets a call in, which must leave afterwards.
func (gate *gate) enter() error {
	gate.mutex.Lock()
	defer gate.mutex.Unlock()
	if gate.draining {
		return &engine.Error{Status: enginev1.Status_STATUS_UNAVAILABLE, Message: "The node is draining."}
	}
	if gate.running >= gate.max {
		return &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED, Message: "The node runs as many calls as it may."}
	}
	gate.running++
	return nil
}

func (gate *gate) leave() {
	gate.mutex.Lock()
	defer gate.mutex.Unlock()
	gate.running--
	gate.closeIfIdle()
}

// closeIfIdle tells drain that all is done. The caller holds the mutex.
func (gate *gate) closeIfIdle() {
	if !gate.draining || gate.running > 0 {
		return
	}
	select {
	case <-gate.idle:
	default:
		close(gate.idle)
	}
}

// drain refuses new calls from now on.
func (gate *gate) drain() {
	gate.mutex.Lock()
	defer gate.mutex.Unlock()
	gate.draining = true
	gate.closeIfIdle()
}

// wait returns once a draining gate is empty, or with the context's error.
func (gate *gate) wait(ctx context.Context) error {
	select {
	case <-gate.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// state tells how many calls run, and whether new ones are refused.
func (gate *gate) state() (running int, draining bool) {
	gate.mutex.Lock()
	defer gate.mutex.Unlock()
	return gate.running, gate.draining
}
