// Package jobs queues inference in NATS JetStream: a call is acknowledged once it lies on disk, runs on any node that has
// its model, and is answered once, whatever crashes in between.
//
// What holds it together:
//
//   - A job's state lies in a key-value bucket and changes by compare-and-set alone. The first result to get there is the
//     result; every later one is dropped.
//   - A job's id follows from its idempotency key, so that the same key is the same job.
//   - A message of the queue stays until its job has ended. Where a worker dies, the message comes again, its next worker
//     finds how far the job got, and goes on from there.
//   - A job that fails again and again, or kills its workers, goes to the dead letters.
package jobs

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/telemetry"
)

// Caller runs calls; models.Catalogue does. Failures are *engine.Error.
type Caller interface {
	Infer(ctx context.Context, request *v1.InferRequest) (*v1.InferResponse, error)
	Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error)
	Generate(ctx context.Context, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error) error
}

// Observer is told what happens to jobs on this node; telemetry.Telemetry is one. Its methods must not wait.
type Observer interface {
	// JobChanged: this node brought a job into the state.
	JobChanged(state v1.JobState)
	// JobsRunning on this node.
	JobsRunning(running int)
	// JobsQueued in the pool, running ones included.
	JobsQueued(queued uint64)
	// DeadLettered: failed, poison, malformed or deliveries.
	DeadLettered(reason string)
}

// Options say where NATS is, what this node does, and the bounds. Zero values are replaced by the defaults named.
type Options struct {
	// URL of NATS, several divided by commas: nats://127.0.0.1:4222, or tls://… by TLS.
	URL string
	// TLS for tls:// addresses (tlsfiles.Files.Client); nil: the system's authorities.
	TLS *tls.Config
	// CredentialsFile with a user's JWT and seed; empty: none.
	CredentialsFile string
	// Node is this node's id; it becomes the connection's name.
	Node string
	// Replicas of the streams, 1 to 5; 1.
	Replicas int

	// Caller runs the jobs; nil: this node submits and runs none.
	Caller Caller
	// Models that this node can run now. Asked every two seconds.
	Models func(ctx context.Context) []string
	// Resolve gives the name by which the pool knows a model that a call names otherwise, such as by an alias of this node;
	// another node may have other aliases. nil: names are what they are.
	Resolve func(model string) string
	// Servable is whether some node of the pool has the model: others are refused at once. nil: every model may come.
	Servable func(model string) bool
	// Workers is how many jobs of one model run at once on this node; 4.
	Workers int

	// QueueMax jobs wait or run at most in the whole pool; 10,000. More are refused as overloaded.
	QueueMax int
	// CallBytesMax bounds an encoded call, and ResultBytesMax an ended job; 900,000 each. NATS' own max_payload bounds
	// both, 1 MiB where it is not set.
	CallBytesMax, ResultBytesMax int
	// QueueAge is how long a job waits at most, then it fails; 24 hours.
	QueueAge time.Duration
	// ResultAge is how long an ended job is kept; 24 hours.
	ResultAge time.Duration
	// JobTimeout bounds one attempt; 10 minutes.
	JobTimeout time.Duration
	// AckWait is how long a worker may be silent before its job is given to another; 30 seconds. It speaks three times as
	// often.
	AckWait time.Duration
	// AttemptsMax is how often a job may fail, or take its worker down, before it goes to the dead letters; 5.
	AttemptsMax int
	// RetryDelay before the second attempt; it doubles up to a minute; 1 second.
	RetryDelay time.Duration

	// Observer is told what happens; nil: nobody.
	Observer Observer
	// Logger is told of failures; nil: slog's default.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	// fetchWait is how long a worker waits for a job before it looks around, which is also what closing waits for.
	fetchWait time.Duration
}

// Bounds that no option changes.
const (
	// deliveriesPerAttempt is how often a message may come for each attempt of its job. Deliveries that are given back
	// without an attempt (a node that drains, an engine that is full) count here alone.
	deliveriesPerAttempt = 4
	// dedupWindow is how long a message is known to be a repetition. It exceeds every pause between two tries to publish.
	dedupWindow = time.Hour
	// modelsInterval is between two questions for the models that can be run, and for the queue's length.
	modelsInterval = 2 * time.Second
	// retryDelayMax bounds the delay before another attempt.
	retryDelayMax = time.Minute
	// busyWaitMax is how long a worker waits for an engine that is full, before it gives the job back.
	busyWaitMax = 2 * time.Minute
	// callTimeout bounds one call to NATS; settleTimeout all tries to write down how a job ended.
	callTimeout   = 5 * time.Second
	settleTimeout = 2 * time.Minute
	// conflictsMax bounds how often a change of state is tried against others who change it too.
	conflictsMax = 64
	// watchersMax bounds the watched jobs of this node.
	watchersMax = 1024
	// idempotencyKeyMax and subjectBytesMax bound what a client names.
	idempotencyKeyMax = 128
	subjectBytesMax   = 256
	// Bytes on disk: together under a gigabyte, which local runs give JetStream.
	queueBytesMax   = 256 << 20
	statesBytesMax  = 384 << 20
	answersBytesMax = 128 << 20
	deadBytesMax    = 64 << 20
	adviceBytesMax  = 16 << 20
	// deadLetterAge is how long dead letters are kept.
	deadLetterAge = 14 * 24 * time.Hour
)

func (options Options) complete() (Options, error) {
	if options.URL == "" {
		return options, errors.New("jobs: NATS' address is missing")
	}
	if options.Caller != nil && options.Models == nil {
		return options, errors.New("jobs: a node that runs jobs needs to say for which models")
	}
	fill(&options.Replicas, 1)
	fill(&options.Workers, 4)
	fill(&options.QueueMax, 10_000)
	fill(&options.CallBytesMax, 900_000)
	fill(&options.ResultBytesMax, 900_000)
	fill(&options.QueueAge, 24*time.Hour)
	fill(&options.ResultAge, 24*time.Hour)
	fill(&options.JobTimeout, 10*time.Minute)
	fill(&options.AckWait, 30*time.Second)
	fill(&options.AttemptsMax, 5)
	fill(&options.RetryDelay, time.Second)
	fill(&options.fetchWait, 2*time.Second)
	if options.Observer == nil {
		options.Observer = noObserver{}
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return options, nil
}

func fill[N int | time.Duration](value *N, otherwise N) {
	if *value <= 0 {
		*value = otherwise
	}
}

var _ Observer = (*telemetry.Telemetry)(nil)

type noObserver struct{}

func (noObserver) JobChanged(v1.JobState) {}
func (noObserver) JobsRunning(int)        {}
func (noObserver) JobsQueued(uint64)      {}
func (noObserver) DeadLettered(string)    {}
