package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/telemetry"
)

// Queue is this node's end of the queue: it takes jobs, tells how they do, and runs those whose model it has. All methods
// may be called from many goroutines at once. Those that fail return *engine.Error or ErrNotFound.
type Queue struct {
	options    Options
	connection *nats.Conn
	stream     jetstream.JetStream
	states     *states
	running    *running
	gate       *gate
	watchers   atomic.Int64
	// serving ends when no more jobs are to be taken up, working when those that run are to be put down.
	serving, working         context.Context
	stopServing, stopWorking context.CancelFunc
	workers                  sync.WaitGroup
	cancellations            *nats.Subscription
}

// Open connects, waiting for NATS until ctx ends, makes the streams where they are missing, and begins to run jobs.
func Open(ctx context.Context, options Options) (*Queue, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	connection, err := dial(ctx, options)
	if err != nil {
		return nil, err
	}
	queue, err := open(ctx, options, connection)
	if err != nil {
		connection.Close()
		return nil, err
	}
	return queue, nil
}

func open(ctx context.Context, options Options, connection *nats.Conn) (*Queue, error) {
	stream, err := jetstream.New(connection, jetstream.WithDefaultTimeout(callTimeout))
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	// What NATS itself takes bounds both.
	payloadMax := int(connection.MaxPayload()) - natsOverheadBytes
	options.CallBytesMax = min(options.CallBytesMax, payloadMax)
	options.ResultBytesMax = min(options.ResultBytesMax, payloadMax)
	bucket, err := ensureStreams(ctx, stream, options)
	if err != nil {
		return nil, err
	}
	queue := &Queue{
		options:    options,
		connection: connection,
		stream:     stream,
		states:     &states{bucket: bucket, bytesMax: options.ResultBytesMax},
		running:    newRunning(options.Observer),
		gate:       newGate(),
	}
	queue.serving, queue.stopServing = context.WithCancel(context.Background())
	queue.working, queue.stopWorking = context.WithCancel(context.Background())
	if err := queue.listenForCancellations(); err != nil {
		return nil, err
	}
	queue.workers.Go(queue.watchQueue)
	if options.Caller != nil {
		queue.workers.Go(queue.serveModels)
		queue.workers.Go(queue.serveAdvice)
	}
	return queue, nil
}

func dial(ctx context.Context, options Options) (*nats.Conn, error) {
	settings := []nats.Option{
		nats.Name("treeline-pool " + options.Node),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(insistMin * 5),
		nats.Timeout(callTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			options.Logger.Warn("NATS", "reason", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				options.Logger.Warn("NATS is lost", "reason", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { options.Logger.Info("NATS is found again") }),
	}
	if options.TLS != nil && strings.HasPrefix(options.URL, "tls://") {
		settings = append(settings, nats.Secure(options.TLS))
	}
	if options.CredentialsFile != "" {
		settings = append(settings, nats.UserCredentials(options.CredentialsFile))
	}
	for {
		connection, err := nats.Connect(options.URL, settings...)
		if err == nil {
			return connection, nil
		}
		if pause(ctx, insistMin*5); ctx.Err() != nil {
			return nil, fmt.Errorf("jobs: NATS at %s: %w", options.URL, err)
		}
	}
}

// Submit puts a call into the queue. The same idempotency key gives the same job, in whatever state it is. The call's model
// may get another name.
func (queue *Queue) Submit(ctx context.Context, request *v1.SubmitJobRequest) (*v1.Job, error) {
	model, err := checkRequest(request)
	if err != nil {
		return nil, err
	}
	if queue.options.Resolve != nil {
		model = queue.options.Resolve(model)
		setModel(request, model)
	}
	call, digest, err := encodeCall(request)
	if err != nil {
		return nil, err
	}
	if len(call) > queue.options.CallBytesMax {
		return nil, invalid("call", fmt.Sprintf("The call has %d bytes; a queued one has at most %d.", len(call), queue.options.CallBytesMax))
	}
	if queue.options.Servable != nil && !queue.options.Servable(model) {
		return nil, &engine.Error{Status: enginev1.Status_STATUS_MODEL_NOT_FOUND, Parameter: "model",
			Message: "No node of the pool has this model ready."}
	}
	fresh := record{
		job: &v1.Job{
			Id:            idOf(request.GetIdempotencyKey()),
			State:         v1.JobState_JOB_STATE_QUEUED,
			SubmittedAtMs: queue.options.Now().UnixMilli(),
		},
		about: about{Digest: digest, Model: model, Reply: request.GetReplySubject()},
	}
	return queue.submit(ctx, fresh, call)
}

// submit writes the state before the message: a worker then always finds it. Where this node dies in between, the next
// Submit with the same key finds a state without a message, and publishes again; a message that is there after all is
// recognised by its id, or later by the job being bound to the other one.
func (queue *Queue) submit(ctx context.Context, fresh record, call []byte) (*v1.Job, error) {
	id := fresh.job.GetId()
	revision, err := queue.states.create(ctx, fresh)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return queue.resubmit(ctx, fresh, call)
	}
	if err != nil {
		return nil, refusedBy(err)
	}
	if err := queue.publish(ctx, fresh, call); err != nil {
		if isFull(err) {
			// The job was never in the queue: its key is free again.
			_ = queue.states.bucket.Delete(ctx, id, jetstream.LastRevision(revision))
		}
		return nil, refusedBy(err)
	}
	queue.options.Observer.JobChanged(v1.JobState_JOB_STATE_QUEUED)
	return fresh.job, nil
}

func (queue *Queue) resubmit(ctx context.Context, fresh record, call []byte) (*v1.Job, error) {
	var isUnclaimed bool
	before, err := queue.states.change(ctx, fresh.job.GetId(), func(before record) (record, error) {
		isUnclaimed = before.job.GetState() == v1.JobState_JOB_STATE_QUEUED && before.Message == 0
		if before.Digest != fresh.Digest || !isUnclaimed {
			return before, errUnchanged
		}
		before.Submissions++
		return before, nil
	})
	if err != nil {
		return nil, refusedBy(err)
	}
	if before.Digest != fresh.Digest {
		return nil, invalid("idempotency_key", "This idempotency key was used with another call.")
	}
	if isUnclaimed {
		if err := queue.publish(ctx, before, call); err != nil {
			return nil, refusedBy(err)
		}
	}
	return before.job, nil
}

func (queue *Queue) publish(ctx context.Context, r record, call []byte) error {
	message := nats.NewMsg(queueSubject + tokenOf(r.Model))
	message.Data = call
	message.Header.Set(jobHeader, r.job.GetId())
	if traceparent := telemetry.Traceparent(ctx); traceparent != "" {
		message.Header.Set(traceHeader, traceparent)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := queue.stream.PublishMsg(ctx, message, jetstream.WithMsgID(r.job.GetId()))
	return err
}

// refusedBy is what a caller is told when NATS did not do as it should.
func refusedBy(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return err
	case isFull(err):
		return &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED, Message: "The queue is full. Try again later."}
	case errors.Is(err, context.Canceled):
		return &engine.Error{Status: enginev1.Status_STATUS_CANCELLED, Message: "The call was cancelled."}
	default:
		return &engine.Error{Status: enginev1.Status_STATUS_UNAVAILABLE, Message: "The queue cannot be reached. Try again with the same idempotency key."}
	}
}

// Get tells how a job does.
func (queue *Queue) Get(ctx context.Context, id string) (*v1.Job, error) {
	r, err := queue.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.job, nil
}

func (queue *Queue) get(ctx context.Context, id string) (record, error) {
	if !isID(id) {
		return record{}, ErrNotFound
	}
	r, _, err := queue.states.get(ctx, id)
	if err != nil {
		return record{}, refusedBy(err)
	}
	if !r.overdue(queue.options.QueueAge+queue.options.JobTimeout, queue.options.Now()) {
		return r, nil
	}
	// The queue has dropped its message, so no worker will ever say this.
	end := failed("The job waited longer than " + queue.options.QueueAge.String() + ".")
	r, err = queue.settle(ctx, id, end)
	if err != nil {
		return record{}, refusedBy(err)
	}
	return r, nil
}

// Cancel ends a job that has not ended: one that waits will not run, one that runs is stopped. It gives the job as it is
// then.
func (queue *Queue) Cancel(ctx context.Context, id string) (*v1.Job, error) {
	if _, err := queue.get(ctx, id); err != nil {
		return nil, err
	}
	r, err := queue.settle(ctx, id, &v1.Job{State: v1.JobState_JOB_STATE_CANCELLED})
	if err != nil {
		return nil, refusedBy(err)
	}
	// Whoever runs it now stops at once; without this word at its next heartbeat.
	_ = queue.connection.Publish(cancelSubject+id, nil)
	return r.job, nil
}

// Watch gives the job to send at once and at each change, until it has ended or ctx does.
func (queue *Queue) Watch(ctx context.Context, id string, send func(*v1.Job) error) error {
	if _, err := queue.get(ctx, id); err != nil {
		return err
	}
	defer queue.watchers.Add(-1)
	if queue.watchers.Add(1) > watchersMax {
		return &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED, Message: "Too many jobs are watched on this node."}
	}
	watcher, err := queue.states.bucket.Watch(ctx, id)
	if err != nil {
		return refusedBy(err)
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return refusedBy(ctx.Err())
		case entry, open := <-watcher.Updates():
			if !open {
				return refusedBy(errors.New("jobs: the watch has ended"))
			}
			if ended, err := sendEntry(entry, send); ended || err != nil {
				return err
			}
		}
	}
}

// sendEntry sends the job of an entry; a nil entry says that the present state has been told.
func sendEntry(entry jetstream.KeyValueEntry, send func(*v1.Job) error) (ended bool, err error) {
	if entry == nil {
		return false, nil
	}
	if entry.Operation() != jetstream.KeyValuePut {
		return true, ErrNotFound
	}
	r, err := decodeRecord(entry.Value())
	if err != nil {
		return true, refusedBy(err)
	}
	return r.ended(), send(r.job)
}

// Close takes no more jobs up, waits until ctx ends for those that run, gives the others back to the queue, and leaves
// NATS.
func (queue *Queue) Close(ctx context.Context) error {
	queue.stopServing()
	finished := make(chan struct{})
	go func() {
		queue.workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		queue.stopWorking()
		<-finished
	}
	queue.stopWorking()
	_ = queue.cancellations.Unsubscribe()
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	err := queue.connection.FlushWithContext(flushing)
	queue.connection.Close()
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}
