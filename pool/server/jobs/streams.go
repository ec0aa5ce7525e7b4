package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// natsOverheadBytes of a message are its headers and subject.
const natsOverheadBytes = 4096

// ensureStreams makes the streams and the bucket, or brings them up to these settings.
func ensureStreams(ctx context.Context, js jetstream.JetStream, options Options) (jetstream.KeyValue, error) {
	for _, config := range streamConfigs(options) {
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return nil, fmt.Errorf("jobs: the stream %s: %w", config.Name, err)
		}
	}
	bucket, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      statesBucket,
		Description: "The states and results of jobs.",
		History:     1,
		TTL:         options.QueueAge + options.JobTimeout + options.ResultAge,
		MaxBytes:    statesBytesMax,
		Storage:     jetstream.FileStorage,
		Replicas:    options.Replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("jobs: the bucket %s: %w", statesBucket, err)
	}
	return bucket, nil
}

func streamConfigs(options Options) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{{
		Name:        queueStream,
		Description: "Jobs that have not ended.",
		Subjects:    []string{queueSubject + "*"},
		Retention:   jetstream.WorkQueuePolicy,
		// A full queue refuses, rather than forget its oldest job.
		Discard:    jetstream.DiscardNew,
		MaxMsgs:    int64(options.QueueMax),
		MaxBytes:   queueBytesMax,
		MaxAge:     options.QueueAge,
		MaxMsgSize: int32(options.CallBytesMax + natsOverheadBytes),
		Duplicates: min(dedupWindow, options.QueueAge),
		Storage:    jetstream.FileStorage,
		Replicas:   options.Replicas,
	}, {
		Name:        deadStream,
		Description: "Jobs that failed for good, as they were submitted.",
		Subjects:    []string{deadSubject + "*"},
		MaxBytes:    deadBytesMax,
		MaxAge:      deadLetterAge,
		Duplicates:  dedupWindow,
		Storage:     jetstream.FileStorage,
		Replicas:    options.Replicas,
	}, {
		Name:        answersStream,
		Description: "Ended jobs, for readers that were not there in that moment.",
		Subjects:    []string{AnswersSubject + ">"},
		MaxBytes:    answersBytesMax,
		MaxAge:      options.ResultAge,
		Duplicates:  min(dedupWindow, options.ResultAge),
		Storage:     jetstream.FileStorage,
		Replicas:    options.Replicas,
	}, {
		Name:        adviceStream,
		Description: "The server's word that a message has come as often as it may.",
		Subjects:    []string{adviceSubject},
		Retention:   jetstream.WorkQueuePolicy,
		MaxBytes:    adviceBytesMax,
		Storage:     jetstream.FileStorage,
		Replicas:    options.Replicas,
	}}
}

// consumerConfig is of the consumer that all nodes share which run a model.
func consumerConfig(options Options, model string) jetstream.ConsumerConfig {
	token := tokenOf(model)
	return jetstream.ConsumerConfig{
		Durable:       token,
		Description:   "Jobs for " + model,
		FilterSubject: queueSubject + token,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       options.AckWait,
		MaxDeliver:    options.AttemptsMax * deliveriesPerAttempt,
		MaxAckPending: options.QueueMax,
	}
}

// isFull is whether JetStream refused a message for want of room.
func isFull(err error) bool {
	const (
		insufficientResources = 10023
		storageExceeded       = 10047
		// The stream's own bounds: its number of messages, or its bytes.
		storeFailed = 10077
	)
	var failed *jetstream.APIError
	if !errors.As(err, &failed) {
		return false
	}
	return failed.ErrorCode == storeFailed || failed.ErrorCode == storageExceeded || failed.ErrorCode == insufficientResources
}
