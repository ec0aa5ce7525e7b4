package jobs

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// workerVariable makes a process of this test's program a worker on the NATS server at its value.
const workerVariable = "TREELINE_TEST_WORKER"

func TestMain(m *testing.M) {
	if url := os.Getenv(workerVariable); url != "" {
		runWorker(url)
		return
	}
	os.Exit(m.Run())
}

// runWorker runs jobs until it is killed, and says so on standard output. The text "poison" ends it.
func runWorker(url string) {
	options := quick(url)
	options.AttemptsMax = 5
	options.Caller = callerFunc(func(ctx context.Context, text string) (*v1.EmbedResponse, error) {
		fmt.Println("runs", text)
		if text == "poison" {
			os.Exit(1)
		}
		pause(ctx, 150*time.Millisecond)
		return answering(ctx, text)
	})
	if _, err := Open(context.Background(), options); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}

// workers are processes that are started again when they end.
type workers struct {
	t       *testing.T
	url     string
	running sync.WaitGroup

	lock sync.Mutex
	// processes that run; true for those that have begun a job.
	processes map[*os.Process]bool
	runs      map[string]int
	stopped   bool
}

func startWorkers(t *testing.T, url string, count int) *workers {
	t.Helper()
	workers := &workers{t: t, url: url, processes: map[*os.Process]bool{}, runs: map[string]int{}}
	for range count {
		workers.running.Go(workers.keepOne)
	}
	t.Cleanup(workers.stop)
	return workers
}

// keepOne starts a process, and another each time that it has ended.
func (workers *workers) keepOne() {
	for {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), workerVariable+"="+workers.url)
		output, err := command.StdoutPipe()
		if err != nil {
			workers.t.Error(err)
			return
		}
		if !workers.start(command) {
			return
		}
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if text, found := strings.CutPrefix(lines.Text(), "runs "); found {
				workers.begins(command.Process, text)
			}
		}
		_ = command.Wait()
		workers.lock.Lock()
		delete(workers.processes, command.Process)
		workers.lock.Unlock()
	}
}

func (workers *workers) start(command *exec.Cmd) bool {
	workers.lock.Lock()
	defer workers.lock.Unlock()
	if workers.stopped {
		return false
	}
	if err := command.Start(); err != nil {
		workers.t.Error(err)
		return false
	}
	workers.processes[command.Process] = false
	return true
}

// begins notes that a process has begun a job.
func (workers *workers) begins(process *os.Process, text string) {
	workers.lock.Lock()
	defer workers.lock.Unlock()
	workers.runs[text]++
	if _, runs := workers.processes[process]; runs {
		workers.processes[process] = true
	}
}

// killWorking ends a process that has begun a job as `kill -9` does, and tells whether there was one. On a busy machine
// many would else end before they have begun anything, which shows nothing.
func (workers *workers) killWorking() bool {
	return workers.kill(func(hasBegun bool) bool { return hasBegun })
}

func (workers *workers) kill(fits func(hasBegun bool) bool) bool {
	workers.lock.Lock()
	defer workers.lock.Unlock()
	for process, hasBegun := range workers.processes {
		if fits(hasBegun) {
			delete(workers.processes, process)
			return process.Kill() == nil
		}
	}
	return false
}

func (workers *workers) stop() {
	workers.lock.Lock()
	workers.stopped = true
	workers.lock.Unlock()
	for workers.kill(func(bool) bool { return true }) {
	}
	workers.running.Wait()
}

func (workers *workers) ran(text string) int {
	workers.lock.Lock()
	defer workers.lock.Unlock()
	return workers.runs[text]
}

// Of 200 jobs, with workers killed all the while, none is lost and none has two results or two answers.
func TestNoJobIsLostOrAnsweredTwiceWhileWorkersAreKilled(t *testing.T) {
	t.Parallel()
	const jobs, kills = 200, 12
	server := startNATS(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	queue := openQueue(t, quick(server.url))
	ends := countEnds(t, queue)
	answers := listen(t, server.url, "plain.>")
	workers := startWorkers(t, server.url, 3)
	var killing sync.WaitGroup
	killing.Go(func() {
		for killed := 0; killed < kills && ends.jobs() < jobs; {
			time.Sleep(100*time.Millisecond + time.Duration(random.IntN(200))*time.Millisecond)
			if workers.killWorking() {
				killed++
			}
		}
	})
	for number := range jobs {
		key := fmt.Sprint("job-", number)
		reply := AnswersSubject + key
		if number%2 == 1 {
			reply = "plain." + key
		}
		submit(t, queue, embedJob(key, key, reply))
	}
	killing.Wait()
	var again int
	for number := range jobs {
		key := fmt.Sprint("job-", number)
		end := awaitEnd(t, queue, idOf(key))
		if end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED || string(end.GetEmbedded().GetVectors()) != key {
			t.Errorf("%s ended as %v", key, end)
		}
		if end.GetAttempt() > 1 {
			again++
		}
	}
	eventually(t, 20*time.Second, "the queue is empty", func() bool { return queued(t, queue) == 0 })
	eventually(t, 5*time.Second, "every end was seen", func() bool { return ends.jobs() == jobs })
	for number := range jobs {
		key := fmt.Sprint("job-", number)
		if written := ends.count(idOf(key)); written != 1 {
			t.Errorf("%s was ended %d times", key, written)
		}
		if plainly := answers.count("plain." + key); plainly > 1 {
			t.Errorf("%s was answered %d times", key, plainly)
		}
	}
	if kept := storedAnswers(t, queue); kept != jobs/2 {
		t.Errorf("%d of %d kept answers", kept, jobs/2)
	}
	if again == 0 {
		t.Error("no job came twice, so this has shown nothing")
	}
	t.Logf("%d of %d jobs were taken up more than once", again, jobs)
}

func TestAJobThatKillsItsWorkersGoesToTheDeadLettersAndTheOthersRun(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	queue := openQueue(t, quick(server.url))
	workers := startWorkers(t, server.url, 2)
	poison := submit(t, queue, embedJob("", "poison", ""))
	for number := range 20 {
		submit(t, queue, embedJob(fmt.Sprint("job-", number), "fine", ""))
	}
	for number := range 20 {
		// Beside the poison once, at most; then alone.
		end := awaitEnd(t, queue, idOf(fmt.Sprint("job-", number)))
		if end.GetState() != v1.JobState_JOB_STATE_SUCCEEDED || end.GetAttempt() > 2 {
			t.Errorf("%v", end)
		}
	}
	end := awaitEnd(t, queue, poison.GetId())
	if end.GetState() != v1.JobState_JOB_STATE_FAILED || end.GetAttempt() != 5 {
		t.Errorf("after %d runs: %v", workers.ran("poison"), end)
	}
	if letters := deadLetters(t, queue); len(letters) != 1 || letters[poison.GetId()] != "poison" {
		t.Errorf("dead letters: %v", letters)
	}
}

// endCounts are how often each job's end was written to the bucket.
type endCounts struct {
	lock   sync.Mutex
	counts map[string]int
}

func countEnds(t *testing.T, queue *Queue) *endCounts {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watcher, err := queue.states.bucket.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	ends := &endCounts{counts: map[string]int{}}
	var watching sync.WaitGroup
	watching.Go(func() {
		for entry := range watcher.Updates() {
			if entry == nil {
				continue
			}
			if r, err := decodeRecord(entry.Value()); err == nil && r.ended() {
				ends.lock.Lock()
				ends.counts[entry.Key()]++
				ends.lock.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = watcher.Stop()
		watching.Wait()
	})
	return ends
}

func (ends *endCounts) jobs() int {
	ends.lock.Lock()
	defer ends.lock.Unlock()
	return len(ends.counts)
}

func (ends *endCounts) count(id string) int {
	ends.lock.Lock()
	defer ends.lock.Unlock()
	return ends.counts[id]
}
