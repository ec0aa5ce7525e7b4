package jobs

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func inState(state v1.JobState, attempt uint32, message uint64) record {
	return record{job: &v1.Job{Id: idOf("key"), State: state, Attempt: attempt}, about: about{Message: message}}
}

func TestAMessageIsClaimedRepeatedEndedOrPoison(t *testing.T) {
	by := claimant{node: "n", claimer: "c", attemptsMax: 3}
	own := inState(v1.JobState_JOB_STATE_RUNNING, 1, 7)
	own.Claimer = "c"
	for name, expected := range map[string]struct {
		before  record
		claim   claim
		attempt uint32
	}{
		"the first":                      {inState(v1.JobState_JOB_STATE_QUEUED, 0, 0), claimRun, 1},
		"the same again after a failure": {inState(v1.JobState_JOB_STATE_QUEUED, 1, 7), claimRun, 2},
		"the same after a crash":         {inState(v1.JobState_JOB_STATE_RUNNING, 2, 7), claimRun, 3},
		"my own, whose answer was lost":  {own, claimRun, 1},
		"another message":                {inState(v1.JobState_JOB_STATE_RUNNING, 1, 6), claimRepeated, 1},
		"all attempts used":              {inState(v1.JobState_JOB_STATE_RUNNING, 3, 7), claimPoison, 3},
		"succeeded":                      {inState(v1.JobState_JOB_STATE_SUCCEEDED, 3, 7), claimEnded, 3},
		"cancelled before it ran":        {inState(v1.JobState_JOB_STATE_CANCELLED, 0, 0), claimEnded, 0},
	} {
		after, claim := expected.before.claimed(7, by)
		if claim != expected.claim || after.job.GetAttempt() != expected.attempt {
			t.Errorf("%s: claim %d, attempt %d", name, claim, after.job.GetAttempt())
		}
	}
}

func TestAnAttemptCountsUntilAnotherIsMade(t *testing.T) {
	running := inState(v1.JobState_JOB_STATE_RUNNING, 2, 7)
	if !running.holds(2) || running.holds(1) || running.givenBack().holds(2) {
		t.Error("the wrong attempt holds")
	}
	if back := running.givenBack(); back.job.GetAttempt() != 1 || back.job.GetState() != v1.JobState_JOB_STATE_QUEUED {
		t.Errorf("given back as %v", back.job)
	}
	if running.job.GetAttempt() != 2 {
		t.Error("the state before was changed")
	}
}

func TestAJobIsSuspectOnceItMayHaveTakenSomethingDown(t *testing.T) {
	queued := inState(v1.JobState_JOB_STATE_QUEUED, 0, 0)
	running := inState(v1.JobState_JOB_STATE_RUNNING, 1, 7)
	for name, expected := range map[string]struct {
		record  record
		suspect bool
	}{
		"new":                       {queued, false},
		"failed":                    {running.queuedAgain("It broke.", false), false},
		"given back":                {running.givenBack(), false},
		"left running":              {running, true},
		"the engine went down":      {running.queuedAgain("It crashed.", true), true},
		"and it failed otherwise":   {running.queuedAgain("It crashed.", true).queuedAgain("It broke.", false), true},
		"and it was given back too": {running.queuedAgain("It crashed.", true).givenBack(), true},
	} {
		if expected.record.suspect() != expected.suspect {
			t.Errorf("%s: suspect %v", name, !expected.suspect)
		}
	}
}

func TestAStateIsTheSameAfterEncoding(t *testing.T) {
	before := inState(v1.JobState_JOB_STATE_SUCCEEDED, 2, 7)
	before.job.Embedded = &v1.EmbedResponse{Vectors: []byte("with\na line")}
	before.about = about{Digest: "d", Model: "m", Reply: "r", Message: 7, Node: "n", Settler: "s"}
	encoded, err := before.encode()
	if err != nil {
		t.Fatal(err)
	}
	after, err := decodeRecord(encoded)
	if err != nil || after.about != before.about || !proto.Equal(after.job, before.job) {
		t.Errorf("%v, %v", after, err)
	}
}

func FuzzAStateThatIsNotWholeIsRefused(f *testing.F) {
	encoded, _ := inState(v1.JobState_JOB_STATE_QUEUED, 0, 0).encode()
	f.Add(encoded)
	f.Add([]byte("{}\n\xff"))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		r, err := decodeRecord(bytes)
		if err == nil && r.job == nil {
			t.Error("a state without a job")
		}
	})
}

func TestTheDelayDoublesUpToItsBound(t *testing.T) {
	for attempt, expected := range map[uint32]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 60: time.Minute} {
		if delay := retryDelay(time.Second, attempt); delay != expected {
			t.Errorf("after attempt %d: %s", attempt, delay)
		}
	}
}

func FuzzAReplySubjectIsNeverACommandToNATS(f *testing.F) {
	for _, subject := range []string{"a.b", "$JS.ACK.x", "treeline.jobs.m", "treeline.answers.x", "_INBOX.x", ".a", "a.", ">"} {
		f.Add(subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if checkReply(subject) != nil || subject == "" {
			return
		}
		isOwn := strings.HasPrefix(subject, "treeline.") && !strings.HasPrefix(subject, AnswersSubject)
		if subject[0] == '$' || isOwn || strings.ContainsAny(subject, " \t\r\n*>") {
			t.Errorf("%q is taken", subject)
		}
	})
}

func FuzzModelsHaveDistinctTokens(f *testing.F) {
	f.Add("a/b", "a.b")
	f.Add("model", "mmodel")
	f.Fuzz(func(t *testing.T, one, other string) {
		if one != other && tokenOf(one) == tokenOf(other) {
			t.Errorf("%q and %q share %s", one, other, tokenOf(one))
		}
		if strings.ContainsAny(tokenOf(one), ". *>/\\\t\r\n") {
			t.Errorf("%q becomes %q", one, tokenOf(one))
		}
	})
}
