package shm

import (
	"testing"
	"time"
)

// forTwoProcessors lets a test watch on a machine with one.
func forTwoProcessors(t *testing.T) {
	before := canWatch
	canWatch = true
	t.Cleanup(func() { canWatch = before })
}

func TestWhoWaitedLongSleepsAtOnceUntilAWaitWasShort(t *testing.T) {
	forTwoProcessors(t)
	var patience patience
	for _, step := range []struct {
		waited     time.Duration
		worthwhile bool
	}{{watchMax, true}, {watchMax + 1, false}, {time.Hour, false}, {0, true}} {
		patience.learn(step.waited)
		if watched := patience.watch(func() bool { return true }); watched != step.worthwhile {
			t.Errorf("after %v: %v", step.waited, watched)
		}
	}
}

func TestWhoWatchesInVainDoesSoEverMoreRarelyUntilItHelps(t *testing.T) {
	forTwoProcessors(t)
	var patience patience
	for _, expected := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024} {
		looked := 0
		if patience.watch(func() bool { looked++; return false }) || looked < looks {
			t.Fatalf("%d looks", looked)
		}
		if patience.skip != expected {
			t.Fatalf("%d waits are slept through, not %d", patience.skip, expected)
		}
		patience.skip = 0
	}
	patience.skip = 1
	there := func() bool { return true }
	if patience.watch(there) || !patience.watch(there) || patience.vain != 0 {
		t.Fatal("it did not watch again")
	}
}

func TestOneProcessorNeverWatches(t *testing.T) {
	forTwoProcessors(t)
	canWatch = false
	var patience patience
	if patience.watch(func() bool { t.Error("it looked"); return true }) {
		t.Error("it watched")
	}
}
