// Package shm reaches engines in processes of their own through shared memory (pool/engine/engine-worker). A payload that
// was written into memory from Reserve is read by the engine where it lies, and its reply is read here where the engine
// wrote it. A process that ends takes its own calls with it and nothing else: they fail with STATUS_ENGINE_CRASHED, or are
// sent once more, and another process is started.
//
//	layout.go    where everything lies in the memory that both sides change
//	memory.go    sealed memfds, and futexes
//	arena.go     a buddy allocator; requests.go puts it over the memory that all workers read
//	queue.go     calls, replies and releases on their way
//	incoming.go  replies, taken by who sleeps until they come, or by who watches for its own
//	patience.go  when to watch, and when to sleep
//	calls.go     what a call carries, and the calls that run
//	worker.go    one process, from its start to its end
//	fleet.go     all of them: who gets a call, and who is started again
//	everyone.go  operations that concern all workers
package shm

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// workersMax bounds Options.Workers.
	workersMax = 64
	// requestBytesDefault and replyBytesDefault are lengths of address space; memory is used as calls need it.
	requestBytesDefault = 1 << 30
	replyBytesDefault   = 1 << 30
	// arenaBytesMin is the smallest arena.
	arenaBytesMin = 1 << 20

	restartDelayMinDefault = 10 * time.Millisecond
	restartDelayMaxDefault = 10 * time.Second
)

// Options are how workers are started.
type Options struct {
	// Program is the path of treeline-engine.
	Program string
	// Settings are the engine's.
	Settings engine.Settings
	// Workers is how many processes there are, 1 to 64; 0: 1. Each loads all models.
	Workers int
	// RequestBytes is the arena for calls, of all workers together, a power of two; 0: 1 GiB.
	RequestBytes int
	// ReplyBytes is the arena for replies, of each worker, a power of two; 0: 1 GiB.
	ReplyBytes int
	// RestartDelayMin is the pause before an ended worker is started again; it doubles with each start in a row, up to
	// RestartDelayMax. 0: 10 ms, and 10 s.
	RestartDelayMin, RestartDelayMax time.Duration
	// Contract is what the engine must have been built from; zero: engine.Built. Other values are for tests.
	Contract engine.Contract
	// Stderr gets what workers print; nil: this process's.
	Stderr io.Writer
	// OnRestart is told of each worker that ended without being asked to; nil: nobody is.
	OnRestart func(err error)
}

func (options Options) withDefaults() (Options, error) {
	setDefault(&options.Workers, 1)
	setDefault(&options.RequestBytes, requestBytesDefault)
	setDefault(&options.ReplyBytes, replyBytesDefault)
	setDefault(&options.RestartDelayMin, restartDelayMinDefault)
	setDefault(&options.RestartDelayMax, restartDelayMaxDefault)
	options.Contract = options.Contract.OrBuilt()
	if options.Stderr == nil {
		options.Stderr = os.Stderr
	}
	if options.OnRestart == nil {
		options.OnRestart = func(error) {}
	}
	isArena := func(bytes int) bool { return bytes >= arenaBytesMin && bytes&(bytes-1) == 0 }
	switch {
	case options.Workers < 1 || options.Workers > workersMax:
		return options, errors.New("shm: there are 1 to 64 workers")
	case !isArena(options.RequestBytes) || !isArena(options.ReplyBytes):
		return options, errors.New("shm: an arena is a power of two, of at least 1 MiB")
	case len(options.Contract.Hash) != contractHashBytes:
		return options, errors.New("shm: a contract's hash has 16 digits")
	}
	return options, nil
}

func setDefault[value comparable](field *value, preset value) {
	var zero value
	if *field == zero {
		*field = preset
	}
}

// Engine is engines in processes of their own.
type Engine struct {
	requests *requests
	fleet    *fleet
}

var _ engine.Engine = (*Engine)(nil)

// Open starts the workers and returns when all are ready for calls; models may still be loading then.
func Open(options Options) (*Engine, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	requests, err := newRequests(options.RequestBytes)
	if err != nil {
		return nil, err
	}
	fleet, err := startFleet(options, requests)
	if err != nil {
		requests.close()
		return nil, err
	}
	return &Engine{requests: requests, fleet: fleet}, nil
}

// Transport is shm.
func (shm *Engine) Transport() string { return "shm" }

// Reserve gives memory that the engine reads where it lies.
func (shm *Engine) Reserve(size int) (*engine.Buffer, error) {
	if err := engine.CheckReserve(size); err != nil {
		return nil, err
	}
	block, err := shm.requests.take(size)
	if err != nil {
		return nil, err
	}
	return engine.NewBuffer(block.bytes(size), block.release), nil
}

// Call makes a call with one reply.
func (shm *Engine) Call(ctx context.Context, call *engine.Call) (*engine.Reply, error) {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, engine.OfContext(err)
	}
	switch call.Operation {
	case enginev1.Operation_OPERATION_GENERATE:
		return nil, &engine.Error{Status: enginev1.Status_STATUS_INVALID_ARGUMENT, Message: "GENERATE has many replies."}
	case enginev1.Operation_OPERATION_STATS, enginev1.Operation_OPERATION_LIST_MODELS,
		enginev1.Operation_OPERATION_LOAD_MODEL, enginev1.Operation_OPERATION_UNLOAD_MODEL,
		enginev1.Operation_OPERATION_TRAIN_MODEL:
		return shm.callEveryone(ctx, call, start)
	}
	reply, chosen, err := shm.callOne(ctx, call, start, nil)
	if errors.Is(err, errCrashed) && shm.fleet.others(chosen) {
		// All operations that reach this line ask without changing anything: they may be asked again.
		reply, _, err = shm.callOne(ctx, call, start, chosen)
	}
	return reply, err
}

func (shm *Engine) callOne(
	ctx context.Context, call *engine.Call, start time.Time, not *worker,
) (*engine.Reply, *worker, error) {
	chosen, err := shm.fleet.choose(call, not)
	if err != nil {
		return nil, nil, err
	}
	sent, err := shm.requests.prepare(ctx, call)
	if err != nil {
		return nil, chosen, err
	}
	reply, err := chosen.call(ctx, sent, start)
	return reply, chosen, err
}

// Stream makes a call with many replies.
func (shm *Engine) Stream(ctx context.Context, call *engine.Call, receive func(*engine.Reply) error) error {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return engine.OfContext(err)
	}
	chosen, err := shm.fleet.choose(call, nil)
	if err != nil {
		return err
	}
	sent, err := shm.requests.prepare(ctx, call)
	if err != nil {
		return err
	}
	return chosen.stream(ctx, sent, start, receive)
}

// Close waits for running calls until ctx ends, then ends the workers. Replies that were not released stay readable.
func (shm *Engine) Close(ctx context.Context) error {
	err := shm.fleet.close(ctx)
	shm.requests.close()
	return err
}

// Processes are the numbers of the workers' processes, for tests and for who watches the machine.
func (shm *Engine) Processes() []int { return shm.fleet.processes() }
