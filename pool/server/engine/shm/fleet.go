package shm

import (
	"context"
	"runtime"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	// goodLife is how long a worker must have run for the next restart to come as soon as the first.
	goodLife = 30 * time.Second
	// modelsInterval is how often several workers are asked which models they have ready.
	modelsInterval = time.Second
	// drainLookInterval is how often Close looks whether calls still run.
	drainLookInterval = 5 * time.Millisecond
)

// fleet is all workers of an engine.
type fleet struct {
	options  Options
	requests *requests
	// spawn runs what starts processes, on one thread that lives as long as the fleet: see startWorker.
	spawn chan func()

	mutex   sync.RWMutex
	workers []*worker // nil: being started again.
	closing bool
	// stop is closed when the fleet closes.
	stop chan struct{}
	// keepers are the goroutines that keep one worker running each.
	keepers sync.WaitGroup
}

func startFleet(options Options, requests *requests) (*fleet, error) {
	made := &fleet{
		options: options, requests: requests,
		spawn: make(chan func()), stop: make(chan struct{}), workers: make([]*worker, options.Workers),
	}
	go made.runSpawner()
	errs := make(chan error, options.Workers)
	for index := range made.workers {
		go func() {
			started, err := made.start()
			made.workers[index] = started // Nobody else looks before all are here.
			errs <- err
		}()
	}
	var failure error
	for range made.workers {
		if err := <-errs; err != nil {
			failure = err
		}
	}
	if failure != nil {
		for _, started := range made.workers {
			if started != nil {
				started.kill()
				<-started.ended
			}
		}
		close(made.stop)
		return nil, failure
	}
	for index, started := range made.workers {
		made.keepers.Add(1)
		go made.keep(index, started)
	}
	if options.Workers > 1 {
		go made.watchModels()
	}
	return made, nil
}

// runSpawner holds a thread of its own: the system ends a worker with the thread that started it, and Go's other threads
// come and go.
func (fleet *fleet) runSpawner() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case work := <-fleet.spawn:
			work()
		case <-fleet.stop:
			// Stay until the last worker is gone.
			fleet.keepers.Wait()
			return
		}
	}
}

func (fleet *fleet) start() (started *worker, err error) {
	done := make(chan struct{})
	work := func() {
		started, err = startWorker(fleet.options, fleet.requests)
		close(done)
	}
	select {
	case fleet.spawn <- work:
		<-done
	case <-fleet.stop:
		return nil, engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
	}
	if err != nil {
		return nil, err
	}
	if err := started.greet(fleet.options.Contract); err != nil {
		return nil, err
	}
	return started, nil
}

// keep starts a worker again each time it ends, later and later where it does not live long.
func (fleet *fleet) keep(index int, current *worker) {
	defer fleet.keepers.Done()
	delay := fleet.options.RestartDelayMin
	for born := time.Now(); ; born = time.Now() {
		<-current.ended
		if time.Since(born) >= goodLife {
			delay = fleet.options.RestartDelayMin
		}
		if !fleet.set(index, nil) {
			return
		}
		fleet.options.OnRestart(errCrashed)
		for {
			if !fleet.pause(delay) {
				return
			}
			delay = min(2*delay, fleet.options.RestartDelayMax)
			started, err := fleet.start()
			if err == nil {
				current = started
				break
			}
			fleet.options.OnRestart(err)
		}
		if !fleet.set(index, current) {
			current.close()
			<-current.ended
			return
		}
	}
}

func (fleet *fleet) pause(delay time.Duration) bool {
	select {
	case <-time.After(delay):
		return true
	case <-fleet.stop:
		return false
	}
}

// set puts a worker in its place; false where the fleet closes.
func (fleet *fleet) set(index int, current *worker) bool {
	fleet.mutex.Lock()
	defer fleet.mutex.Unlock()
	if !fleet.closing {
		fleet.workers[index] = current
	}
	return !fleet.closing
}

// choose is the worker with the fewest calls among those that have the call's model ready, or among all where none has.
func (fleet *fleet) choose(call *engine.Call, not *worker) (*worker, error) {
	fleet.mutex.RLock()
	defer fleet.mutex.RUnlock()
	if fleet.closing {
		return nil, engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
	}
	if len(fleet.workers) == 1 && fleet.workers[0] != nil && not == nil {
		return fleet.workers[0], nil
	}
	model := modelOf(call)
	var chosen *worker
	chosenLoad, chosenHas := 0, false
	for _, candidate := range fleet.workers {
		if candidate == nil || candidate == not {
			continue
		}
		load, has := candidate.table.load(), candidate.has(model)
		if chosen == nil || (has && !chosenHas) || (has == chosenHas && load < chosenLoad) {
			chosen, chosenLoad, chosenHas = candidate, load, has
		}
	}
	if chosen == nil {
		return nil, &engine.Error{
			Status:  enginev1.Status_STATUS_UNAVAILABLE,
			Message: "The engine's process has ended and is being started again; try again in a moment.",
		}
	}
	return chosen, nil
}

// others tells whether a call could go to a worker other than this one.
func (fleet *fleet) others(than *worker) bool {
	for _, candidate := range fleet.alive() {
		if candidate != than {
			return true
		}
	}
	return false
}

func (fleet *fleet) alive() []*worker {
	fleet.mutex.RLock()
	defer fleet.mutex.RUnlock()
	var alive []*worker
	for _, candidate := range fleet.workers {
		if candidate != nil && !fleet.closing {
			alive = append(alive, candidate)
		}
	}
	return alive
}

// modelOf is the model that a call names: field 1 of every message that names one.
func modelOf(call *engine.Call) string {
	switch call.Operation {
	case enginev1.Operation_OPERATION_INFER, enginev1.Operation_OPERATION_EMBED, enginev1.Operation_OPERATION_RERANK,
		enginev1.Operation_OPERATION_TOKENIZE, enginev1.Operation_OPERATION_GENERATE:
	default:
		return ""
	}
	for rest := call.Header; len(rest) > 0; {
		number, kind, length := protowire.ConsumeTag(rest)
		if length < 0 {
			return ""
		}
		rest = rest[length:]
		if number == 1 && kind == protowire.BytesType {
			name, _ := protowire.ConsumeString(rest)
			return name
		}
		if length = protowire.ConsumeFieldValue(number, kind, rest); length < 0 {
			return ""
		}
		rest = rest[length:]
	}
	return ""
}

func (worker *worker) has(model string) bool {
	models := worker.models.Load()
	if model == "" || models == nil {
		return model == ""
	}
	_, has := (*models)[model]
	return has
}

// watchModels keeps what is known of the workers' models up to date.
func (fleet *fleet) watchModels() {
	for fleet.pause(modelsInterval) {
		for _, asked := range fleet.alive() {
			asked.refreshModels(fleet.requests)
		}
	}
}

func (worker *worker) refreshModels(requests *requests) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeMax)
	defer cancel()
	sent, err := requests.prepare(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_LIST_MODELS})
	if err != nil {
		return
	}
	reply, err := worker.call(ctx, sent, time.Now())
	if err != nil {
		return
	}
	defer reply.Release()
	var list v1.ListModelsResponse
	if proto.Unmarshal(reply.Header, &list) != nil {
		return
	}
	models := map[string]struct{}{}
	for _, model := range list.Models {
		if model.State == v1.ModelState_MODEL_STATE_READY {
			models[model.Name] = struct{}{}
		}
	}
	worker.models.Store(&models)
}

// close lets no new call in, waits for those that run until ctx ends, and ends the workers.
func (fleet *fleet) close(ctx context.Context) error {
	workers := fleet.alive()
	fleet.mutex.Lock()
	if fleet.closing {
		fleet.mutex.Unlock()
		return nil
	}
	fleet.closing = true
	fleet.mutex.Unlock()
	failure := waitIdle(ctx, workers)
	close(fleet.stop)
	for _, ending := range workers {
		ending.close()
	}
	for _, ending := range workers {
		<-ending.ended
	}
	fleet.keepers.Wait()
	return failure
}

func waitIdle(ctx context.Context, workers []*worker) error {
	for _, busy := range workers {
		for busy.table.load() > 0 {
			select {
			case <-ctx.Done():
				return engine.OfContext(ctx.Err())
			case <-time.After(drainLookInterval):
			}
		}
	}
	return nil
}

func (fleet *fleet) processes() []int {
	var numbers []int
	for _, worker := range fleet.alive() {
		numbers = append(numbers, worker.process.Process.Pid)
	}
	return numbers
}
