package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/telemetry"
)

// servedMax bounds the models that this node takes jobs for.
const servedMax = 256

// serveModels takes jobs for the models that this node has, as they come and go.
func (queue *Queue) serveModels() {
	served := map[string]context.CancelFunc{}
	defer func() {
		for _, stop := range served {
			stop()
		}
	}()
	for ; queue.serving.Err() == nil; pause(queue.serving, modelsInterval) {
		present := map[string]bool{}
		for _, model := range queue.options.Models(queue.serving) {
			present[model] = true
			if _, known := served[model]; !known && len(served) < servedMax {
				served[model] = queue.serveModel(model)
			}
		}
		for model, stop := range served {
			if !present[model] {
				stop()
				delete(served, model)
			}
		}
	}
}

// serveModel takes jobs for one model with as many workers as there may be, until stopped.
func (queue *Queue) serveModel(model string) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(queue.serving)
	for range queue.options.Workers {
		queue.workers.Go(func() {
			queue.consume(ctx, queueStream, consumerConfig(queue.options, model), queue.process)
		})
	}
	return stop
}

// consume gives the messages of a consumer to handle, one after the other, until ctx ends. It makes the consumer anew
// where NATS has lost it.
func (queue *Queue) consume(ctx context.Context, stream string, config jetstream.ConsumerConfig, handle func(jetstream.Msg)) {
	for wait := insistMin; ctx.Err() == nil; wait = min(2*wait, insistMax) {
		began := time.Now()
		err := queue.consumeWhileThere(ctx, stream, config, handle)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > insistMax {
			wait = insistMin
		}
		queue.options.Logger.Warn("the queue is lost and tried again", "consumer", config.Durable, "reason", err, "after", wait)
		pause(ctx, wait)
	}
}

func (queue *Queue) consumeWhileThere(ctx context.Context, stream string, config jetstream.ConsumerConfig, handle func(jetstream.Msg)) error {
	making, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	consumer, err := queue.stream.CreateOrUpdateConsumer(making, stream, config)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = ensureStreams(making, queue.stream, queue.options); err == nil {
			consumer, err = queue.stream.CreateOrUpdateConsumer(making, stream, config)
		}
	}
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		// Not bound to ctx: a message that is on its way when ctx ends would wait for AckWait. So it is fetched, and given
		// back.
		batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(queue.options.fetchWait))
		if err != nil {
			return err
		}
		for message := range batch.Messages() {
			if ctx.Err() != nil {
				_ = message.Nak()
				continue
			}
			handle(message)
		}
		if err := batch.Error(); err != nil {
			return err
		}
	}
	return nil
}

// process does what a message of the queue stands for, and settles the message.
func (queue *Queue) process(message jetstream.Msg) {
	id, request, sequence, err := parseMessage(message)
	if err != nil {
		queue.bury(message, deadLetter{reason: deadMalformed, err: err.Error()})
		return
	}
	beating, stopBeating := context.WithCancel(queue.working)
	defer stopBeating()
	go beat(beating, queue.options.AckWait/beatsPerWait, func() { _ = message.InProgress() })

	leave, err := queue.enterGate(id)
	if err != nil {
		queue.refuse(message, id, err)
		return
	}
	defer leave()
	r, kind, err := queue.claim(id, sequence)
	if err != nil {
		queue.refuse(message, id, err)
		return
	}
	switch kind {
	case claimRun:
		queue.options.Observer.JobChanged(v1.JobState_JOB_STATE_RUNNING)
		queue.attempt(message, r, request)
	case claimEnded:
		if err := queue.answer(queue.working, r, false); err == nil {
			_ = message.Ack()
		}
	case claimRepeated:
		_ = message.Ack()
	case claimPoison:
		queue.fail(message, r, deadPoison, "The job took its worker down, or was given up by it, at every attempt.")
	}
}

// refuse settles a message whose job cannot be taken up.
func (queue *Queue) refuse(message jetstream.Msg, id string, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		queue.bury(message, deadLetter{id: id, reason: deadUnknown, err: "The job's state is gone."})
	case queue.serving.Err() != nil:
		_ = message.Nak()
	default:
		// Left alone: it comes again after AckWait.
		queue.options.Logger.Warn("a job cannot be taken up", "job", id, "reason", err)
	}
}

// enterGate waits until the job may run: beside others, or alone where it is suspect. It is not claimed meanwhile, so that
// a worker that goes down costs no attempt of a job that has not begun.
func (queue *Queue) enterGate(id string) (leave func(), err error) {
	r, err := queue.states.insist(queue.serving, id, func(before record) (record, error) { return before, errUnchanged })
	if err != nil {
		return nil, err
	}
	return queue.gate.enter(queue.serving, r.suspect())
}

func parseMessage(message jetstream.Msg) (id string, request *v1.SubmitJobRequest, sequence uint64, err error) {
	id = message.Headers().Get(jobHeader)
	if !isID(id) {
		return "", nil, 0, errors.New("jobs: a message without a job's id")
	}
	metadata, err := message.Metadata()
	if err != nil {
		return "", nil, 0, err
	}
	request = &v1.SubmitJobRequest{}
	return id, request, metadata.Sequence.Stream, proto.Unmarshal(message.Data(), request)
}

func (queue *Queue) claim(id string, sequence uint64) (r record, kind claim, err error) {
	by := claimant{node: queue.options.Node, claimer: rand.Text(), attemptsMax: queue.options.AttemptsMax}
	r, err = queue.states.insist(queue.working, id, func(before record) (record, error) {
		var after record
		after, kind = before.claimed(sequence, by)
		if kind != claimRun || before.Claimer == by.claimer {
			return after, errUnchanged
		}
		return after, nil
	})
	return r, kind, err
}

// attempt runs the job once and settles its message.
func (queue *Queue) attempt(message jetstream.Msg, r record, request *v1.SubmitJobRequest) {
	id, attempt := r.job.GetId(), r.job.GetAttempt()
	ctx, stop := context.WithCancelCause(telemetry.WithTraceparent(queue.working, message.Headers().Get(traceHeader)))
	defer stop(nil)
	ctx, cancel := context.WithTimeout(ctx, queue.options.JobTimeout)
	defer cancel()
	queue.running.add(id, stop)
	defer queue.running.remove(id)
	go beat(ctx, queue.options.AckWait/beatsPerWait, func() { queue.stopIfLost(ctx, id, attempt, stop) })

	end, err := queue.runPatiently(ctx, request)
	switch {
	case err == nil:
		queue.succeed(message, id, end)
	case errors.Is(context.Cause(ctx), errEndedElsewhere):
		// Cancelled, finished by another, or claimed by another, whose message it then is. Its end finds out.
		queue.putDown(message, id, attempt)
	case queue.working.Err() != nil || isBusy(err):
		queue.putDown(message, id, attempt)
	case isFinal(err) || int(attempt) >= queue.options.AttemptsMax:
		queue.fail(message, r, deadFailed, reasonOf(err))
	default:
		queue.retry(message, id, attempt, err)
	}
}

// stopIfLost stops an attempt that no longer counts.
func (queue *Queue) stopIfLost(ctx context.Context, id string, attempt uint32, stop context.CancelCauseFunc) {
	if r, _, err := queue.states.get(ctx, id); err == nil && !r.holds(attempt) {
		stop(errEndedElsewhere)
	}
}

func (queue *Queue) succeed(message jetstream.Msg, id string, end *v1.Job) {
	if _, err := queue.settle(queue.working, id, end); err != nil {
		queue.options.Logger.Error("a job's result cannot be written down; it will run again", "job", id, "reason", err)
		return
	}
	_ = message.Ack()
}

// fail puts a job to the dead letters, then ends it. In that order: where this node dies in between, the message comes
// again and both are done again, which the dead letters recognise.
func (queue *Queue) fail(message jetstream.Msg, r record, reason deadReason, sentence string) {
	letter := deadLetter{id: r.job.GetId(), reason: reason, err: sentence, attempts: r.job.GetAttempt()}
	if err := queue.lay(queue.working, message.Subject(), message.Data(), letter); err != nil {
		queue.options.Logger.Error("a dead letter cannot be written", "job", letter.id, "reason", err)
		return
	}
	if _, err := queue.settle(queue.working, letter.id, failed(sentence)); err != nil {
		queue.options.Logger.Error("a job's failure cannot be written down", "job", letter.id, "reason", err)
		return
	}
	_ = message.TermWithReason(string(reason))
}

// retry puts the job back for another attempt after a delay.
func (queue *Queue) retry(message jetstream.Msg, id string, attempt uint32, err error) {
	tookDown := statusOf(err) == enginev1.Status_STATUS_ENGINE_CRASHED
	queue.release(message, id, attempt, retryDelay(queue.options.RetryDelay, attempt), func(r record) record {
		return r.queuedAgain(reasonOf(err), tookDown)
	})
}

// putDown puts the job back for somebody else, now; the attempt does not count.
func (queue *Queue) putDown(message jetstream.Msg, id string, attempt uint32) {
	queue.release(message, id, attempt, 0, record.givenBack)
}

// release puts the job back as change makes it. Where the attempt no longer counts the job has ended, or its message is
// another worker's by now, who settles it.
func (queue *Queue) release(message jetstream.Msg, id string, attempt uint32, delay time.Duration, change func(record) record) {
	// Also while the node stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(queue.working), settleTimeout)
	defer cancel()
	held := false
	r, err := queue.states.insist(ctx, id, func(before record) (record, error) {
		if !before.holds(attempt) {
			return before, errUnchanged
		}
		held = true
		return change(before), nil
	})
	switch {
	case err != nil:
		queue.options.Logger.Warn("a job cannot be put back; it comes again by itself", "job", id, "reason", err)
	case r.ended():
		if err := queue.answer(ctx, r, false); err == nil {
			_ = message.Ack()
		}
	case held:
		_ = message.NakWithDelay(delay)
	}
}
