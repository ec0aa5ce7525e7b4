package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// errEndedElsewhere stops a job that was cancelled, or that somebody else has finished.
var errEndedElsewhere = errors.New("jobs: the job has ended")

// errStopping stops a job since its node stops.
var errStopping = errors.New("jobs: the node stops")

// running are the jobs that run on this node, each with what stops it.
type running struct {
	lock     sync.Mutex
	stops    map[string]context.CancelCauseFunc
	observer Observer
}

func newRunning(observer Observer) *running {
	return &running{stops: map[string]context.CancelCauseFunc{}, observer: observer}
}

func (running *running) add(id string, stop context.CancelCauseFunc) {
	running.lock.Lock()
	defer running.lock.Unlock()
	running.stops[id] = stop
	running.observer.JobsRunning(len(running.stops))
}

func (running *running) remove(id string) {
	running.lock.Lock()
	defer running.lock.Unlock()
	delete(running.stops, id)
	running.observer.JobsRunning(len(running.stops))
}

func (running *running) stop(id string) {
	running.lock.Lock()
	defer running.lock.Unlock()
	if stop, runs := running.stops[id]; runs {
		stop(errEndedElsewhere)
	}
}

// listenForCancellations stops jobs of this node that any node was asked to cancel.
func (queue *Queue) listenForCancellations() (err error) {
	queue.cancellations, err = queue.connection.Subscribe(cancelSubject+"*", func(message *nats.Msg) {
		queue.running.stop(strings.TrimPrefix(message.Subject, cancelSubject))
	})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}

// watchQueue tells the observer how long the queue is.
func (queue *Queue) watchQueue() {
	for ; queue.serving.Err() == nil; pause(queue.serving, modelsInterval) {
		ctx, cancel := context.WithTimeout(queue.serving, callTimeout)
		if stream, err := queue.stream.Stream(ctx, queueStream); err == nil {
			queue.options.Observer.JobsQueued(stream.CachedInfo().State.Msgs)
		}
		cancel()
	}
}

// beatsPerWait is how often a worker speaks up within AckWait.
const beatsPerWait = 3

// beat calls every so often until ctx ends.
func beat(ctx context.Context, interval time.Duration, call func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			call()
		}
	}
}
