package openinference

import (
	"sync"
	"time"
)

// duration counts calls and the time they took together.
type duration struct {
	Count uint64 `json:"count"`
	Ns    uint64 `json:"ns"`
}

func (sum *duration) add(elapsed time.Duration) {
	sum.Count++
	sum.Ns += uint64(max(elapsed, 0))
}

// counters are a model's, of calls by this protocol.
type counters struct {
	success, fail duration
	// lastMs is the Unix time of the last call in milliseconds.
	lastMs uint64
}

// statistics are the counters of the models, by name. Only models that exist get an entry, so their number is bounded.
type statistics struct {
	mutex  sync.Mutex
	models map[string]*counters
}

func (statistics *statistics) count(model string, begun, ended time.Time, isWell bool) {
	statistics.mutex.Lock()
	defer statistics.mutex.Unlock()
	entry := statistics.models[model]
	if entry == nil {
		if statistics.models == nil {
			statistics.models = map[string]*counters{}
		}
		entry = &counters{}
		statistics.models[model] = entry
	}
	entry.lastMs = uint64(ended.UnixMilli())
	if isWell {
		entry.success.add(ended.Sub(begun))
	} else {
		entry.fail.add(ended.Sub(begun))
	}
}

func (statistics *statistics) of(model string) counters {
	statistics.mutex.Lock()
	defer statistics.mutex.Unlock()
	if entry := statistics.models[model]; entry != nil {
		return *entry
	}
	return counters{}
}
