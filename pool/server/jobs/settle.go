package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// failed is the end of a job that failed.
func failed(reason string) *v1.Job {
	return &v1.Job{State: v1.JobState_JOB_STATE_FAILED, Error: reason}
}

// settle ends a job that has not ended, and answers. It gives the job as it is then: where it had ended already, that end
// stays and end is dropped.
func (queue *Queue) settle(ctx context.Context, id string, end *v1.Job) (record, error) {
	// What has begun to be written is finished, also where the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	settler := rand.Text()
	r, err := queue.states.insist(ctx, id, func(before record) (record, error) {
		if before.ended() {
			return before, errUnchanged
		}
		return before.settled(end, settler, queue.options.Now()), nil
	})
	if errors.Is(err, errTooLarge) {
		reason := fmt.Sprintf("The result has more than the %d bytes that a job's may have.", queue.options.ResultBytesMax)
		return queue.settle(ctx, id, failed(reason))
	}
	if err != nil {
		return r, err
	}
	isOwn := r.Settler == settler
	if isOwn {
		queue.options.Observer.JobChanged(r.job.GetState())
	}
	return r, queue.answer(ctx, r, isOwn)
}

// answer publishes an ended job to its reply subject. Below AnswersSubject it may be called again: JetStream keeps one
// message a job. Elsewhere nobody can tell a repetition, so only who has just ended the job answers.
func (queue *Queue) answer(ctx context.Context, r record, isFirst bool) error {
	isKept := strings.HasPrefix(r.Reply, AnswersSubject)
	if r.Reply == "" || (!isKept && !isFirst) {
		return nil
	}
	message, err := answerOf(r)
	if err != nil {
		return err
	}
	if isKept {
		return queue.insistOn(ctx, message, r.job.GetId())
	}
	if err := queue.connection.PublishMsg(message); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// While NATS is away the message waits in the connection's buffer, and goes out when it is back.
	_ = queue.connection.FlushWithContext(ctx)
	return nil
}

func answerOf(r record) (*nats.Msg, error) {
	encoded, err := proto.Marshal(r.job)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	message := nats.NewMsg(r.Reply)
	message.Data = encoded
	message.Header.Set(jobHeader, r.job.GetId())
	message.Header.Set("Content-Type", "application/protobuf")
	return message, nil
}

// insistOn publishes to a stream, again while NATS cannot be reached, until ctx ends; under an id that makes repetitions
// one.
func (queue *Queue) insistOn(ctx context.Context, message *nats.Msg, id string) error {
	for wait := insistMin; ; wait = min(2*wait, insistMax) {
		trying, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := queue.stream.PublishMsg(trying, message, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return nil
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return fmt.Errorf("jobs: %w", err)
		}
	}
}
