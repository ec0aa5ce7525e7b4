package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotFound says that there is no job of this id, or no longer.
var ErrNotFound = errors.New("jobs: there is no such job")

// errTooLarge says that a job's state is more than may be stored.
var errTooLarge = errors.New("jobs: the job's result is too large")

// states are the jobs' states: a key-value bucket that is only changed by compare-and-set.
type states struct {
	bucket   jetstream.KeyValue
	bytesMax int
}

// create writes the first state. It is refused with jetstream.ErrKeyExists where there is one.
func (states *states) create(ctx context.Context, r record) (revision uint64, err error) {
	encoded, err := states.encode(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return states.bucket.Create(ctx, r.job.GetId(), encoded)
}

func (states *states) get(ctx context.Context, id string) (record, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	entry, err := states.bucket.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return record{}, 0, ErrNotFound
	}
	if err != nil {
		return record{}, 0, fmt.Errorf("jobs: %w", err)
	}
	r, err := decodeRecord(entry.Value())
	return r, entry.Revision(), err
}

// errUnchanged is what a decision returns that leaves the state as it is.
var errUnchanged = errors.New("jobs: unchanged")

// change replaces a job's state by what decide makes of it, against whatever others do meanwhile; decide may be asked
// several times. It gives the state as it is then. Where decide returns errUnchanged, nothing is written and change
// succeeds.
func (states *states) change(ctx context.Context, id string, decide func(record) (record, error)) (record, error) {
	for range conflictsMax {
		before, revision, err := states.get(ctx, id)
		if err != nil {
			return record{}, err
		}
		after, err := decide(before)
		if errors.Is(err, errUnchanged) {
			return before, nil
		}
		if err != nil {
			return before, err
		}
		err = states.update(ctx, after, revision)
		if !errors.Is(err, jetstream.ErrKeyExists) && !isConflict(err) {
			return after, err
		}
	}
	return record{}, fmt.Errorf("jobs: %s changes too fast", id)
}

func (states *states) update(ctx context.Context, r record, revision uint64) error {
	encoded, err := states.encode(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = states.bucket.Update(ctx, r.job.GetId(), encoded, revision)
	return err
}

func (states *states) encode(r record) ([]byte, error) {
	encoded, err := r.encode()
	if err == nil && len(encoded) > states.bytesMax {
		err = fmt.Errorf("%w: %d bytes, more than %d", errTooLarge, len(encoded), states.bytesMax)
	}
	return encoded, err
}

// isConflict is whether somebody else has changed the state meanwhile.
func isConflict(err error) bool {
	var failed *jetstream.APIError
	return errors.As(err, &failed) && (failed.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		failed.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// insist is change, tried again for as long as NATS cannot be reached, up to settleTimeout. decide must know its own
// writing again: a try whose answer was lost may have succeeded.
func (states *states) insist(ctx context.Context, id string, decide func(record) (record, error)) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for wait := insistMin; ; wait = min(2*wait, insistMax) {
		r, err := states.change(ctx, id, decide)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, errTooLarge) || ctx.Err() != nil {
			return r, err
		}
		pause(ctx, wait)
	}
}

// insistMin and insistMax bound the wait between two tries; it doubles from one to the other.
const (
	insistMin = 50 * time.Millisecond
	insistMax = 2 * time.Second
)

func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
