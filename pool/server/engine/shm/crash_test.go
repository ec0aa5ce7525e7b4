package shm

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// quickRestarts lets a test kill often.
func quickRestarts(options *Options) {
	options.RestartDelayMin, options.RestartDelayMax = time.Millisecond, 10*time.Millisecond
}

// statusOf is why a call failed.
func statusOf(t *testing.T, err error) enginev1.Status {
	t.Helper()
	var failure *engine.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%v is no *engine.Error", err)
	}
	return failure.Status
}

// awaitWorkers waits until so many processes run, of which none is `not`.
func awaitWorkers(t *testing.T, opened *Engine, count, not int) []int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		running := opened.Processes()
		fresh := 0
		for _, process := range running {
			if process != not {
				fresh++
			}
		}
		if fresh == count && len(running) == count {
			return running
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v run, not %d", running, count)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestAWorkerIsKilledAHundredTimesAndOnlyItsOwnCallsNotice(t *testing.T) {
	const kills, callers = 100, 6
	opened := open(t, func(options *Options) {
		quickRestarts(options)
		options.Workers = 2
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	awaitWorkers(t, opened, 2, 0)
	descriptors := openDescriptors(t)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var good, crashed, restarting atomic.Int64
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		group.Go(func() {
			for ctx.Err() == nil {
				switch err := sumOnce(opened, random); {
				case err == nil:
					good.Add(1)
				case statusOf(t, err) == enginev1.Status_STATUS_ENGINE_CRASHED:
					crashed.Add(1)
				case statusOf(t, err) == enginev1.Status_STATUS_UNAVAILABLE:
					restarting.Add(1)
				default:
					t.Errorf("a call failed otherwise: %v", err)
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, callers))
	for range kills {
		// One at a time: the other worker must carry on.
		victims := awaitWorkers(t, opened, 2, 0)
		victim := victims[random.IntN(2)]
		time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		awaitWorkers(t, opened, 2, victim)
	}
	stop()
	group.Wait()
	t.Logf("%d calls were good, %d failed with their worker, %d found none", good.Load(), crashed.Load(), restarting.Load())
	// A call is asked once more; one that is slow enough to lose two workers fails.
	if lost := crashed.Load() + restarting.Load(); lost > kills/10 {
		t.Errorf("%d calls failed although another worker was there each time", lost)
	}
	if good.Load() < 10*kills {
		t.Errorf("only %d calls were made", good.Load())
	}
	awaitNothingHeld(t, opened)
	if now := openDescriptors(t); now > descriptors+4 {
		t.Errorf("%d file descriptors became %d", descriptors, now)
	}
}

// sumOnce sums random bytes, half of the time in reserved memory, and checks the result.
func sumOnce(opened *Engine, random *rand.Rand) error {
	data := make([]byte, 1+random.IntN(50_000))
	if random.IntN(2) == 0 {
		buffer, err := opened.Reserve(len(data))
		if err != nil {
			return err
		}
		defer buffer.Release()
		data = buffer.Bytes
	}
	var want uint64
	for index := range data {
		data[index] = byte(index * 7)
		want += uint64(data[index])
	}
	call := &engine.Call{Operation: enginev1.Operation_OPERATION_SUM, Payload: [][]byte{data}}
	reply, err := opened.Call(context.Background(), call)
	if err != nil {
		return err
	}
	defer reply.Release()
	if sum := binary.LittleEndian.Uint64(reply.Payload[0]); sum != want {
		return errors.New("the sum is wrong")
	}
	return nil
}

// awaitNothingHeld fails where blocks of the request arena are in use without a call.
func awaitNothingHeld(t *testing.T, opened *Engine) {
	t.Helper()
	taken := func() uint64 {
		opened.requests.mutex.Lock()
		defer opened.requests.mutex.Unlock()
		return opened.requests.arena.bytesTaken
	}
	for deadline := time.Now().Add(5 * time.Second); taken() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of the request arena are still taken", taken())
		}
	}
}

func TestAStreamWhoseWorkerIsKilledEndsWithThatReasonAtOnce(t *testing.T) {
	opened := open(t, quickRestarts)
	victim := opened.Processes()[0]
	var killed time.Time
	err := opened.Stream(t.Context(), enginetest.Generate(t, enginetest.SlowModel, "x", 10_000_000), func(*engine.Reply) error {
		if killed.IsZero() {
			killed = time.Now()
			return syscall.Kill(victim, syscall.SIGKILL)
		}
		return nil
	})
	if status := statusOf(t, err); status != enginev1.Status_STATUS_ENGINE_CRASHED {
		t.Fatalf("%v: %v", status, err)
	}
	if elapsed := time.Since(killed); elapsed > 2*time.Second {
		t.Errorf("it was noticed after %v", elapsed)
	}
	awaitWorkers(t, opened, 1, victim)
	awaitNothingHeld(t, opened)
	if _, err := opened.Call(t.Context(), &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO}); err != nil {
		t.Fatal(err)
	}
}

func TestAReplyStaysReadableAfterItsWorkerWasKilled(t *testing.T) {
	opened := open(t, quickRestarts)
	reply, err := opened.Call(t.Context(), &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if err != nil {
		t.Fatal(err)
	}
	victim := opened.Processes()[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitWorkers(t, opened, 1, victim)
	if err := engine.Built.Check(reply.Header); err != nil {
		t.Fatal(err)
	}
	reply.Release()
}

func TestWithoutAnotherWorkerACallIsRefusedUntilTheRestart(t *testing.T) {
	opened := open(t, func(options *Options) { options.RestartDelayMin = 300 * time.Millisecond })
	victim := opened.Processes()[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for len(opened.Processes()) > 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := opened.Call(t.Context(), &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if status := statusOf(t, err); status != enginev1.Status_STATUS_UNAVAILABLE {
		t.Fatalf("%v: %v", status, err)
	}
	awaitWorkers(t, opened, 1, victim)
}
