package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func TestTheShippedConfigurationWritesToDiskBeforeItAcknowledges(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	if err := VerifySync(t.Context(), http.DefaultClient, server.monitor); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatWritesLaterOrIsNoneIsNotTakenForOneThatWritesAtOnce(t *testing.T) {
	t.Parallel()
	later := startNATS(t, `jetstream { sync_interval: "2m" }`)
	if err := VerifySync(t.Context(), http.DefaultClient, later.monitor); !errors.Is(err, ErrNotSynced) {
		t.Error(err)
	}
	for _, monitor := range []string{later.monitor + "/nothing", "http://127.0.0.1:1"} {
		if err := VerifySync(t.Context(), http.DefaultClient, monitor); err == nil || errors.Is(err, ErrNotSynced) {
			t.Errorf("%s: %v", monitor, err)
		}
	}
}

func TestAJobRunsAndIsStoredAndAnswered(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.Caller = callerFunc(answering)
	queue := openQueue(t, options)
	answers := listen(t, server.url, "answers.*")

	job := submit(t, queue, embedJob("a-key", "hello", "answers.one"))
	if job.GetState() != v1.JobState_JOB_STATE_QUEUED || job.GetSubmittedAtMs() == 0 {
		t.Errorf("submitted as %v", job)
	}
	end := awaitEnd(t, queue, job.GetId())
	if end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED || string(end.GetEmbedded().GetVectors()) != "hello" || end.GetAttempt() != 1 {
		t.Errorf("ended as %v", end)
	}
	eventually(t, 5*time.Second, "the answer is published", func() bool { return answers.count("answers.one") == 1 })
	if answer := answers.first("answers.one"); !proto.Equal(answer, end) {
		t.Errorf("answered %v, stored %v", answer, end)
	}
}

func TestAGenerationIsGatheredByChoice(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.Caller = callerFunc(answering)
	queue := openQueue(t, options)
	call := &v1.SubmitJobRequest_Generate{Generate: &v1.GenerateRequest{Model: testModel, N: 2}}
	end := awaitEnd(t, queue, submit(t, queue, &v1.SubmitJobRequest{Call: call}).GetId())
	if len(end.GetGenerated()) != 2 {
		t.Fatalf("%v", end)
	}
	for index, choice := range end.GetGenerated() {
		isWhole := choice.GetIndex() == uint32(index) && choice.GetText() == "abc" && len(choice.GetIds()) == 3
		if !isWhole || choice.GetFinishReason() != v1.FinishReason_FINISH_REASON_STOP {
			t.Errorf("choice %d is %v", index, choice)
		}
	}
	if end.GetGenerated()[1].GetUsage().GetCompletionTokens() != 6 {
		t.Errorf("the usage is lost: %v", end)
	}
}

func TestTheSameKeyIsTheSameJobHoweverManySubmitIt(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var runs atomic.Int32
	options := quick(server.url)
	options.Caller = callerFunc(func(ctx context.Context, text string) (*v1.EmbedResponse, error) {
		runs.Add(1)
		return answering(ctx, text)
	})
	queue := openQueue(t, options)
	var ids sync.Map
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			job, err := queue.Submit(t.Context(), embedJob("same", "hello", ""))
			if err != nil {
				t.Error(err)
				return
			}
			ids.Store(job.GetId(), true)
		})
	}
	group.Wait()
	var distinct int
	ids.Range(func(id, _ any) bool {
		distinct++
		awaitEnd(t, queue, id.(string))
		return true
	})
	if distinct != 1 || runs.Load() != 1 {
		t.Errorf("%d jobs, %d runs", distinct, runs.Load())
	}
	_, err := queue.Submit(t.Context(), embedJob("same", "another call", ""))
	if statusOf(err) != enginev1.Status_STATUS_INVALID_ARGUMENT {
		t.Errorf("another call with the same key: %v", err)
	}
}

func TestAFailingJobIsTriedAgainAndThenGoesToTheDeadLetters(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var runs atomic.Int32
	options := quick(server.url)
	options.AttemptsMax = 3
	options.Caller = callerFunc(func(_ context.Context, text string) (*v1.EmbedResponse, error) {
		if runs.Add(1); text == "wrong" {
			return nil, invalid("texts", "Never.")
		}
		return nil, &engine.Error{Status: enginev1.Status_STATUS_INTERNAL, Message: "It broke."}
	})
	queue := openQueue(t, options)
	end := awaitEnd(t, queue, submit(t, queue, embedJob("", "fails", "")).GetId())
	if end.GetState() != v1.JobState_JOB_STATE_FAILED || end.GetError() != "It broke." || end.GetAttempt() != 3 || runs.Load() != 3 {
		t.Errorf("after %d runs: %v", runs.Load(), end)
	}
	final := awaitEnd(t, queue, submit(t, queue, embedJob("", "wrong", "")).GetId())
	if final.GetAttempt() != 1 || final.GetError() != "Never." {
		t.Errorf("what no other attempt would change: %v", final)
	}
	letters := deadLetters(t, queue)
	if len(letters) != 2 || letters[end.GetId()] != "failed" || letters[final.GetId()] != "failed" {
		t.Errorf("dead letters: %v", letters)
	}
	eventually(t, 5*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
}

func TestAFullEngineIsWaitedForWithoutCountingAttempts(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var runs atomic.Int32
	options := quick(server.url)
	options.AttemptsMax = 1
	options.RetryDelay = 5 * time.Millisecond
	options.Caller = callerFunc(func(ctx context.Context, text string) (*v1.EmbedResponse, error) {
		if runs.Add(1) < 6 {
			return nil, &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED, Message: "Full."}
		}
		return answering(ctx, text)
	})
	queue := openQueue(t, options)
	end := awaitEnd(t, queue, submit(t, queue, embedJob("", "hello", "")).GetId())
	if end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED || end.GetAttempt() != 1 {
		t.Errorf("%v", end)
	}
}

func TestARedeliveredMessageOfAnEndedJobIsOnlyAcknowledged(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	submitter := openQueue(t, quick(server.url))
	answers := listen(t, server.url, "plain.*")
	plain := submit(t, submitter, embedJob("", "one", "plain.one"))
	kept := submit(t, submitter, embedJob("", "two", AnswersSubject+"two"))
	// A worker that stores the result, and dies before it acknowledges the message.
	for _, job := range []*v1.Job{plain, kept} {
		end := &v1.Job{State: v1.JobState_JOB_STATE_SUCCEEDED, Embedded: &v1.EmbedResponse{Vectors: []byte("first")}}
		if _, err := submitter.settle(t.Context(), job.GetId(), end); err != nil {
			t.Fatal(err)
		}
	}
	options := quick(server.url)
	options.Caller = callerFunc(func(context.Context, string) (*v1.EmbedResponse, error) {
		t.Error("an ended job runs again")
		return nil, errors.New("again")
	})
	openQueue(t, options)
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, submitter) == 0 })
	if answers.count("plain.one") != 1 || storedAnswers(t, submitter) != 1 {
		t.Errorf("answered %d times plainly, %d times in the stream", answers.count("plain.one"), storedAnswers(t, submitter))
	}
}

func TestAnAnswerThatWasNeverPublishedFollowsWithTheRedelivery(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	submitter := openQueue(t, quick(server.url))
	job := submit(t, submitter, embedJob("", "one", AnswersSubject+"one"))
	// A worker that dies between the result and its answer.
	_, err := submitter.states.change(t.Context(), job.GetId(), func(before record) (record, error) {
		return before.settled(&v1.Job{State: v1.JobState_JOB_STATE_SUCCEEDED}, "gone", time.Now()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	options := quick(server.url)
	options.Caller = callerFunc(answering)
	openQueue(t, options)
	eventually(t, 10*time.Second, "the answer is there", func() bool { return storedAnswers(t, submitter) == 1 })
}

func TestOnlyTheFirstResultCounts(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	queue := openQueue(t, quick(server.url))
	answers := listen(t, server.url, "plain.*")
	job := submit(t, queue, embedJob("", "one", "plain.one"))
	var group sync.WaitGroup
	for writer := range 10 {
		group.Go(func() {
			end := &v1.Job{State: v1.JobState_JOB_STATE_SUCCEEDED, Embedded: &v1.EmbedResponse{Dimensions: uint32(writer)}}
			if _, err := queue.settle(t.Context(), job.GetId(), end); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	stored, err := queue.Get(t.Context(), job.GetId())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "an answer", func() bool { return answers.count("plain.one") > 0 })
	if answers.count("plain.one") != 1 || !proto.Equal(answers.first("plain.one"), stored) {
		t.Errorf("%d answers, the first %v, stored %v", answers.count("plain.one"), answers.first("plain.one"), stored)
	}
}

func TestAQueuedJobIsCancelledAndNeverRuns(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	submitter := openQueue(t, quick(server.url))
	job := submit(t, submitter, embedJob("", "hello", AnswersSubject+"cancelled"))
	cancelled, err := submitter.Cancel(t.Context(), job.GetId())
	if err != nil || cancelled.GetState() != v1.JobState_JOB_STATE_CANCELLED || cancelled.GetEndedAtMs() == 0 {
		t.Fatalf("%v, %v", cancelled, err)
	}
	options := quick(server.url)
	options.Caller = callerFunc(func(context.Context, string) (*v1.EmbedResponse, error) {
		t.Error("a cancelled job runs")
		return nil, errors.New("cancelled")
	})
	openQueue(t, options)
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, submitter) == 0 })
	if again, err := submitter.Cancel(t.Context(), job.GetId()); err != nil || again.GetState() != v1.JobState_JOB_STATE_CANCELLED {
		t.Errorf("cancelled again: %v, %v", again, err)
	}
	if storedAnswers(t, submitter) != 1 {
		t.Errorf("%d answers", storedAnswers(t, submitter))
	}
}

func TestARunningJobIsStoppedOnAnotherNodeAtOnce(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	submitter := openQueue(t, quick(server.url))
	started, stopped := make(chan struct{}), make(chan struct{})
	options := quick(server.url)
	// Long, so that the heartbeat is not what stops it.
	options.AckWait = time.Minute
	options.Caller = callerFunc(func(ctx context.Context, _ string) (*v1.EmbedResponse, error) {
		close(started)
		<-ctx.Done()
		close(stopped)
		return nil, ctx.Err()
	})
	openQueue(t, options)
	job := submit(t, submitter, embedJob("", "hello", ""))
	await(t, started, "the job runs")
	if _, err := submitter.Cancel(t.Context(), job.GetId()); err != nil {
		t.Fatal(err)
	}
	await(t, stopped, "the job is stopped")
	if end := awaitEnd(t, submitter, job.GetId()); end.GetState() != v1.JobState_JOB_STATE_CANCELLED {
		t.Errorf("%v", end)
	}
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, submitter) == 0 })
}

func TestANodeThatStopsGivesItsJobsBackWithoutCountingAnAttempt(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	submitter := openQueue(t, quick(server.url))
	started := make(chan struct{})
	options := quick(server.url)
	options.AckWait = time.Minute
	options.Caller = callerFunc(func(ctx context.Context, _ string) (*v1.EmbedResponse, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	stopping := openQueue(t, options)
	job := submit(t, submitter, embedJob("", "hello", ""))
	await(t, started, "the job runs")
	if err := stopping.Close(testContext(t, 100*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if put, err := submitter.Get(t.Context(), job.GetId()); err != nil || put.GetState() != v1.JobState_JOB_STATE_QUEUED || put.GetAttempt() != 0 {
		t.Fatalf("%v, %v", put, err)
	}
	options.Caller = callerFunc(answering)
	openQueue(t, options)
	if end := awaitEnd(t, submitter, job.GetId()); end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED || end.GetAttempt() != 1 {
		t.Errorf("%v", end)
	}
}

func TestAFullQueueRefusesAndTheKeyStaysFree(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.QueueMax = 2
	queue := openQueue(t, options)
	submit(t, queue, embedJob("one", "hello", ""))
	submit(t, queue, embedJob("two", "hello", ""))
	_, err := queue.Submit(t.Context(), embedJob("three", "hello", ""))
	if statusOf(err) != enginev1.Status_STATUS_OVERLOADED {
		t.Fatalf("%v", err)
	}
	if _, err := queue.Get(t.Context(), idOf("three")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused job is there: %v", err)
	}
	options.Caller = callerFunc(answering)
	openQueue(t, options)
	awaitEnd(t, queue, idOf("two"))
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
	if end := awaitEnd(t, queue, submit(t, queue, embedJob("three", "hello", "")).GetId()); end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED {
		t.Errorf("%v", end)
	}
}

func TestAModelNamedByAnAliasIsQueuedByItsOwnName(t *testing.T) {
	t.Parallel()
	options := quick(startNATS(t).url)
	options.Resolve = func(model string) string { return strings.TrimPrefix(model, "alias-of-") }
	options.Servable = func(model string) bool { return model == testModel }
	options.Caller = callerFunc(answering)
	queue := openQueue(t, options)
	byAlias := embedJob("key", "hello", "")
	byAlias.GetEmbed().Model = "alias-of-" + testModel
	job := submit(t, queue, byAlias)
	if end := awaitEnd(t, queue, job.GetId()); end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED {
		t.Errorf("%v", end)
	}
	// The same call by the model's own name is the same call.
	if again := submit(t, queue, embedJob("key", "hello", "")); again.GetId() != job.GetId() {
		t.Errorf("%s, then %s", job.GetId(), again.GetId())
	}
}

func TestWhatCannotBeQueuedIsRefusedClearly(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.CallBytesMax, options.ResultBytesMax = 2000, 1000
	options.Servable = func(model string) bool { return model == testModel }
	options.Caller = callerFunc(answering)
	queue := openQueue(t, options)
	unknown := embedJob("", "hello", "")
	unknown.GetEmbed().Model = "unknown"
	for name, refused := range map[string]struct {
		request *v1.SubmitJobRequest
		status  enginev1.Status
	}{
		"no call":          {&v1.SubmitJobRequest{}, enginev1.Status_STATUS_INVALID_ARGUMENT},
		"a key of blanks":  {embedJob("a\nkey", "hello", ""), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"a key too long":   {embedJob(strings.Repeat("k", 129), "hello", ""), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"NATS' subject":    {embedJob("", "hello", "$JS.API.STREAM.DELETE.TREELINE_JOBS"), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"the queue's":      {embedJob("", "hello", "treeline.jobs.mx"), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"a wildcard":       {embedJob("", "hello", "a.*"), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"an empty token":   {embedJob("", "hello", "a..b"), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"a call too large": {embedJob("", strings.Repeat("x", 2000), ""), enginev1.Status_STATUS_INVALID_ARGUMENT},
		"an unknown model": {unknown, enginev1.Status_STATUS_MODEL_NOT_FOUND},
	} {
		if _, err := queue.Submit(t.Context(), refused.request); statusOf(err) != refused.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "job-", "no.such*job", idOf("never submitted")} {
		if _, err := queue.Get(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("the job %q: %v", id, err)
		}
	}
	end := awaitEnd(t, queue, submit(t, queue, embedJob("", strings.Repeat("x", 1500), "")).GetId())
	if end.GetState() != v1.JobState_JOB_STATE_FAILED || !strings.Contains(end.GetError(), "1000 bytes") {
		t.Errorf("a result too large: %v", end)
	}
}

func TestAMessageThatCameTooOftenBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	queue := openQueue(t, quick(server.url))
	job := submit(t, queue, embedJob("", "hello", ""))
	// A worker of another version, that gives every message back.
	config := consumerConfig(queue.options, testModel)
	config.MaxDeliver = 3
	consumer, err := queue.stream.CreateOrUpdateConsumer(t.Context(), queueStream, config)
	if err != nil {
		t.Fatal(err)
	}
	for range config.MaxDeliver + 1 {
		batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for message := range batch.Messages() {
			_ = message.Nak()
		}
	}
	options := quick(server.url)
	options.Caller = callerFunc(answering)
	options.Models = func(context.Context) []string { return nil }
	openQueue(t, options)
	if end := awaitEnd(t, queue, job.GetId()); end.GetState() != v1.JobState_JOB_STATE_FAILED {
		t.Errorf("%v", end)
	}
	if letters := deadLetters(t, queue); letters[job.GetId()] != "deliveries" {
		t.Errorf("dead letters: %v", letters)
	}
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
}

func TestAMessageThatIsNoJobBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.Caller = callerFunc(answering)
	queue := openQueue(t, options)
	if _, err := queue.stream.Publish(t.Context(), queueSubject+tokenOf(testModel), []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a dead letter", func() bool { return deadLetters(t, queue)[""] == "malformed" })
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
}

func TestAJobThatWaitedTooLongFails(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var late atomic.Int64
	options := quick(server.url)
	options.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	queue := openQueue(t, options)
	job := submit(t, queue, embedJob("", "hello", ""))
	late.Store(int64(25 * time.Hour))
	if end, err := queue.Get(t.Context(), job.GetId()); err != nil || end.GetState() != v1.JobState_JOB_STATE_FAILED {
		t.Errorf("%v, %v", end, err)
	}
}

func TestAllJobsEndThoughNATSIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	options := quick(server.url)
	options.Caller = callerFunc(func(ctx context.Context, text string) (*v1.EmbedResponse, error) {
		pause(ctx, 20*time.Millisecond)
		return answering(ctx, text)
	})
	queue := openQueue(t, options)
	const jobs = 60
	for number := range jobs {
		if number == jobs/2 {
			server.kill()
			server.start()
		}
		key := fmt.Sprint("job-", number)
		eventually(t, 20*time.Second, key+" is taken", func() bool {
			_, err := queue.Submit(t.Context(), embedJob(key, key, AnswersSubject+"restart"))
			return err == nil
		})
	}
	for number := range jobs {
		key := fmt.Sprint("job-", number)
		if end := awaitEnd(t, queue, idOf(key)); string(end.GetEmbedded().GetVectors()) != key {
			t.Errorf("%s ended as %v", key, end)
		}
	}
	eventually(t, 10*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
	eventually(t, 10*time.Second, "each job is answered once", func() bool { return storedAnswers(t, queue) == jobs })
}

func await(t *testing.T, channel <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-channel:
	case <-time.After(10 * time.Second):
		t.Fatalf("not within 10 s: %s", what)
	}
}

// heard are the answers that a plain subscriber has heard, by subject.
type heard struct {
	lock sync.Mutex
	jobs map[string][]*v1.Job
}

func listen(t *testing.T, url, subjects string) *heard {
	t.Helper()
	connection, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	heard := &heard{jobs: map[string][]*v1.Job{}}
	_, err = connection.Subscribe(subjects, func(message *nats.Msg) {
		job := &v1.Job{}
		if err := proto.Unmarshal(message.Data, job); err != nil {
			t.Error(err)
		}
		heard.lock.Lock()
		defer heard.lock.Unlock()
		heard.jobs[message.Subject] = append(heard.jobs[message.Subject], job)
	})
	if err == nil {
		err = connection.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return heard
}

func (heard *heard) count(subject string) int {
	heard.lock.Lock()
	defer heard.lock.Unlock()
	return len(heard.jobs[subject])
}

func (heard *heard) first(subject string) *v1.Job {
	heard.lock.Lock()
	defer heard.lock.Unlock()
	if len(heard.jobs[subject]) == 0 {
		return nil
	}
	return heard.jobs[subject][0]
}

func streamState(t *testing.T, queue *Queue, name string) jetstream.StreamState {
	t.Helper()
	stream, err := queue.stream.Stream(testContext(t, 10*time.Second), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State
}

func queued(t *testing.T, queue *Queue) uint64 {
	t.Helper()
	return streamState(t, queue, queueStream).Msgs
}

func storedAnswers(t *testing.T, queue *Queue) uint64 {
	t.Helper()
	return streamState(t, queue, answersStream).Msgs
}

// deadLetters are the reasons, by job. Twice the same job is an error.
func deadLetters(t *testing.T, queue *Queue) map[string]string {
	t.Helper()
	ctx := testContext(t, 10*time.Second)
	stream, err := queue.stream.Stream(ctx, deadStream)
	if err != nil {
		t.Fatal(err)
	}
	letters := map[string]string{}
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		message, err := stream.GetMsg(ctx, sequence)
		if err != nil {
			t.Fatal(err)
		}
		id := message.Header.Get(jobHeader)
		if _, twice := letters[id]; twice {
			t.Errorf("two dead letters of %q", id)
		}
		letters[id] = message.Header.Get(reasonHeader)
	}
	return letters
}
