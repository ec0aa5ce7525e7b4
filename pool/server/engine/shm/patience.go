package shm

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// watchMax is how long who has sent a call watches for its reply before it sleeps. To sleep and be woken costs a side
	// from 10 µs on a busy machine to some 30 on an idle one, whose processors doze. The bound must hold both sides' and a
	// short call between them, or calls that have once slept go on sleeping although watching would be enough.
	// WATCH_MAX of the worker (ring/src/patience.rs) is the same.
	watchMax = 100 * time.Microsecond
	// looks is how many looks come between two looks at the clock.
	looks = 64
	// vainMax bounds the waits that are slept through after watching in vain: 1, 2, 4, up to 2 to the power of this.
	vainMax = 10
)

// patience tells whether watching is worth it: who has lately been answered within a moment watches that long, who waits
// longer sleeps at once ("spin, then block": Karlin, Manasse, McGeoch, Owicki 1990). Who watched in vain does so ever more
// rarely, for then both sides may have to share one processor. One goroutine at a time watches; all may learn.
type patience struct {
	// exhausted: the last reply took longer than anybody watches.
	exhausted atomic.Bool
	// vain is how often in a row it was in vain, up to vainMax; skip is how many waits are slept through yet.
	vain, skip int
}

// canWatch is false where there is one processor, on which watching would keep the other side from its work.
var canWatch = runtime.NumCPU() > 1 && runtime.GOMAXPROCS(0) > 1

func (patience *patience) isWorthwhile() bool { return canWatch && !patience.exhausted.Load() }

// watch looks until isThere, if that is worth it, and tells whether it was.
func (patience *patience) watch(isThere func() bool) bool {
	switch {
	case !patience.isWorthwhile():
		return false
	case patience.skip > 0:
		patience.skip--
		return false
	case look(isThere):
		patience.vain = 0
		return true
	}
	patience.skip = 1 << patience.vain
	patience.vain = min(patience.vain+1, vainMax)
	return false
}

func look(isThere func() bool) bool {
	for since := time.Now(); ; {
		for range looks {
			if isThere() {
				return true
			}
		}
		if time.Since(since) >= watchMax {
			return false
		}
	}
}

// learn is told how long a reply took, watched for or slept for.
func (patience *patience) learn(waited time.Duration) {
	if exhausted := waited > watchMax; patience.exhausted.Load() != exhausted {
		patience.exhausted.Store(exhausted)
	}
}
