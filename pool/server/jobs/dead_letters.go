package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// deadReason is why a job is among the dead letters.
type deadReason string

const (
	// deadFailed: its last attempt failed, or failed in a way that no other attempt would change.
	deadFailed deadReason = "failed"
	// deadPoison: its attempts ended without an answer, as when the worker dies.
	deadPoison deadReason = "poison"
	// deadDeliveries: it came as often as a message may.
	deadDeliveries deadReason = "deliveries"
	// deadMalformed: it is no job.
	deadMalformed deadReason = "malformed"
	// deadUnknown: its state is gone.
	deadUnknown deadReason = "unknown"
)

// deadLetter is what is known of a job that failed for good.
type deadLetter struct {
	id       string
	reason   deadReason
	err      string
	attempts uint32
}

// lay puts a message of the queue to the dead letters.
func (queue *Queue) lay(ctx context.Context, subject string, data []byte, letter deadLetter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	message := nats.NewMsg(deadSubject + strings.TrimPrefix(subject, queueSubject))
	message.Data = data
	message.Header.Set(jobHeader, letter.id)
	message.Header.Set(reasonHeader, string(letter.reason))
	message.Header.Set(errorHeader, oneLine(letter.err))
	message.Header.Set(attemptsHeader, strconv.FormatUint(uint64(letter.attempts), 10))
	id := letter.id
	if id == "" {
		// No job, so nothing that could come twice under another name.
		id = nats.NewInbox()
	}
	if err := queue.insistOn(ctx, message, "dead-"+id); err != nil {
		return err
	}
	queue.options.Observer.DeadLettered(string(letter.reason))
	return nil
}

// oneLine keeps a header on its line.
func oneLine(text string) string {
	return strings.Map(func(letter rune) rune {
		if letter < ' ' {
			return ' '
		}
		return letter
	}, text)
}

// bury puts a message that stands for no job to the dead letters.
func (queue *Queue) bury(message jetstream.Msg, letter deadLetter) {
	if err := queue.lay(queue.working, message.Subject(), message.Data(), letter); err != nil {
		queue.options.Logger.Error("a dead letter cannot be written", "reason", err)
		return
	}
	_ = message.TermWithReason(string(letter.reason))
}

// serveAdvice takes the server's word that a message has come as often as it may. Such a message stays in the stream and
// comes no more: its job ends here.
func (queue *Queue) serveAdvice() {
	config := jetstream.ConsumerConfig{
		Durable:     adviceConsumer,
		Description: "Messages that came too often become dead letters.",
		AckPolicy:   jetstream.AckExplicitPolicy,
		AckWait:     settleTimeout,
	}
	queue.consume(queue.serving, adviceStream, config, func(message jetstream.Msg) {
		if err := queue.followAdvice(message.Data()); err != nil {
			queue.options.Logger.Error("a message that came too often is still in the queue", "reason", err)
			_ = message.NakWithDelay(queue.options.RetryDelay)
			return
		}
		_ = message.Ack()
	})
}

// followAdvice ends the job of an advisory.
func (queue *Queue) followAdvice(data []byte) error {
	var advice struct {
		Sequence uint64 `json:"stream_seq"`
	}
	if err := json.Unmarshal(data, &advice); err != nil || advice.Sequence == 0 {
		// Nothing that can be acted on, now or later.
		queue.options.Logger.Error("NATS' advice cannot be read", "reason", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(queue.working), settleTimeout)
	defer cancel()
	stream, err := queue.stream.Stream(ctx, queueStream)
	if err != nil {
		return err
	}
	message, err := stream.GetMsg(ctx, advice.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := queue.endTooOften(ctx, message); err != nil {
		return err
	}
	return stream.DeleteMsg(ctx, advice.Sequence)
}

func (queue *Queue) endTooOften(ctx context.Context, message *jetstream.RawStreamMsg) error {
	id := message.Header.Get(jobHeader)
	letter := deadLetter{id: id, reason: deadDeliveries, err: "The job was given to workers too often."}
	if isID(id) {
		r, _, err := queue.states.get(ctx, id)
		if err == nil && r.ended() {
			return queue.answer(ctx, r, false)
		}
		if err == nil && r.Message != 0 && r.Message != message.Sequence {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		letter.attempts = r.job.GetAttempt()
	}
	if err := queue.lay(ctx, message.Subject, message.Data, letter); err != nil {
		return err
	}
	if !isID(id) {
		return nil
	}
	_, err := queue.settle(ctx, id, failed(letter.err))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
