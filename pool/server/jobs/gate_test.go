package jobs

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAJobAloneWaitsForThoseThatRunAndHoldsBackThoseThatCome(t *testing.T) {
	t.Parallel()
	gate := newGate()
	enter := func(alone bool) func() {
		t.Helper()
		leave, err := gate.enter(testContext(t, 5*time.Second), alone)
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	one, two := enter(false), enter(false)
	isAlone, hasLeft := make(chan struct{}), make(chan struct{})
	go func() {
		leave := enter(true)
		close(isAlone)
		<-hasLeft
		leave()
	}()
	one()
	select {
	case <-isAlone:
		t.Fatal("alone beside another")
	case <-time.After(50 * time.Millisecond):
	}
	// It waits; whoever comes now comes after it.
	if _, err := gate.enter(testContext(t, 50*time.Millisecond), false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past who waits to be alone: %v", err)
	}
	two()
	await(t, isAlone, "alone once the others have left")
	close(hasLeft)
	enter(false)()
}
