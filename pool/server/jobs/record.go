package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// record is what the bucket keeps of a job. Its methods are the job's state machine: no clock, no network.
type record struct {
	job *v1.Job
	about
}

// about is what only the nodes know of a job.
type about struct {
	// Digest of the call: the same key with another call is a mistake.
	Digest string `json:"digest"`
	Model  string `json:"model"`
	// Reply is the subject that the ended job is published to; empty: none.
	Reply string `json:"reply,omitempty"`
	// Message is the queue's sequence number that the job is bound to, by its first attempt; 0: none yet. Another message
	// of the same job is a repetition.
	Message uint64 `json:"message,omitempty"`
	// Node that runs it, or ran it last.
	Node string `json:"node,omitempty"`
	// Suspect: the engine went down in an attempt at it.
	Suspect bool `json:"suspect,omitempty"`
	// Submissions after the first. Counting them changes the state, so that the first does not take it back.
	Submissions int `json:"submissions,omitempty"`
	// Claimer is drawn by who claims the job, so that it knows its own claim again after an answer of NATS was lost.
	Claimer string `json:"claimer,omitempty"`
	// Settler is drawn by who writes the end, for the same reason.
	Settler string `json:"settler,omitempty"`
}

// encode is one line of JSON, then the job as protobuf.
func (r record) encode() ([]byte, error) {
	line, err := json.Marshal(r.about)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	encoded, err := proto.MarshalOptions{}.MarshalAppend(append(line, '\n'), r.job)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return encoded, nil
}

func decodeRecord(encoded []byte) (record, error) {
	line, message, found := bytes.Cut(encoded, []byte{'\n'})
	if !found {
		return record{}, errors.New("jobs: a job's state is not whole")
	}
	decoded := record{job: &v1.Job{}}
	if err := json.Unmarshal(line, &decoded.about); err != nil {
		return record{}, fmt.Errorf("jobs: a job's state: %w", err)
	}
	if err := proto.Unmarshal(message, decoded.job); err != nil {
		return record{}, fmt.Errorf("jobs: a job's state: %w", err)
	}
	return decoded, nil
}

func (r record) ended() bool { return isEnded(r.job.GetState()) }

// suspect is whether the job may be what took down its worker (which left it running) or the engine. It may as well have
// been another that ran beside it: so it runs alone from now on, and if that goes wrong too, no other job pays for it.
func (r record) suspect() bool {
	return r.Suspect || r.job.GetState() == v1.JobState_JOB_STATE_RUNNING
}

func isEnded(state v1.JobState) bool {
	switch state {
	case v1.JobState_JOB_STATE_SUCCEEDED, v1.JobState_JOB_STATE_FAILED, v1.JobState_JOB_STATE_CANCELLED:
		return true
	default:
		return false
	}
}

// with gives a copy whose job is changed.
func (r record) with(change func(*v1.Job)) record {
	r.job = proto.CloneOf(r.job)
	change(r.job)
	return r
}

// claim is what a delivered message means for its job.
type claim int

const (
	// claimRun: the job is this worker's to run.
	claimRun claim = iota
	// claimEnded: the job has ended; only its answer may be missing.
	claimEnded
	// claimRepeated: another message stands for the job.
	claimRepeated
	// claimPoison: all attempts are used up. It is not claimed.
	claimPoison
)

// claimant is who takes a job up.
type claimant struct {
	node, claimer string
	attemptsMax   int
}

// claimed is the record after a worker has taken the job up from the message, and what that means.
func (r record) claimed(message uint64, by claimant) (record, claim) {
	switch {
	case r.Claimer == by.claimer && r.job.GetState() == v1.JobState_JOB_STATE_RUNNING:
		return r, claimRun
	case r.ended():
		return r, claimEnded
	case r.Message != 0 && r.Message != message:
		return r, claimRepeated
	case int(r.job.GetAttempt()) >= by.attemptsMax:
		return r, claimPoison
	}
	r.Message, r.Node, r.Claimer = message, by.node, by.claimer
	return r.with(func(job *v1.Job) {
		job.State = v1.JobState_JOB_STATE_RUNNING
		job.Attempt++
	}), claimRun
}

// holds is whether the attempt is still the one that counts.
func (r record) holds(attempt uint32) bool {
	return r.job.GetState() == v1.JobState_JOB_STATE_RUNNING && r.job.GetAttempt() == attempt
}

// givenBack is the record after a worker has put the job down without its fault.
func (r record) givenBack() record {
	return r.with(func(job *v1.Job) {
		job.State = v1.JobState_JOB_STATE_QUEUED
		job.Attempt--
	})
}

// queuedAgain is the record after an attempt has failed and another will follow; tookDown where the engine went down.
func (r record) queuedAgain(reason string, tookDown bool) record {
	r.Suspect = r.Suspect || tookDown
	return r.with(func(job *v1.Job) {
		job.State = v1.JobState_JOB_STATE_QUEUED
		job.Error = reason
	})
}

// settled is the record after the job has ended as end says: its state, its result or its error.
func (r record) settled(end *v1.Job, settler string, now time.Time) record {
	r.Settler = settler
	return r.with(func(job *v1.Job) {
		job.State = end.GetState()
		job.Error = end.GetError()
		job.Generated = end.GetGenerated()
		job.Embedded = end.GetEmbedded()
		job.Inferred = end.GetInferred()
		job.EndedAtMs = now.UnixMilli()
	})
}

// overdue is whether the job has waited longer than the queue keeps it.
func (r record) overdue(age time.Duration, now time.Time) bool {
	return !r.ended() && now.Sub(time.UnixMilli(r.job.GetSubmittedAtMs())) > age
}

// retryDelay before the attempt after this one: doubled each time, up to retryDelayMax.
func retryDelay(first time.Duration, attempt uint32) time.Duration {
	delay := first
	for ; attempt > 1 && delay < retryDelayMax; attempt-- {
		delay *= 2
	}
	return min(delay, retryDelayMax)
}
