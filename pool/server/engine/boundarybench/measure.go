//go:build ffi

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/ffi"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// warmUpCalls come before those that count: memory is touched, connections grow their windows.
	warmUpCalls = 20
	// bareRounds and bareCalls are how the cost of the shortest call is measured.
	bareRounds, bareCalls = 31, 20_000
)

func (peer throughPeer) sum(data []byte) []byte {
	call := &engine.Call{Operation: enginev1.Operation_OPERATION_SUM, Payload: [][]byte{data}}
	reply, err := peer.library.Call(context.Background(), call)
	if err != nil {
		return nil
	}
	defer reply.Release()
	return reply.Payload[0]
}

// measured is one row.
type measured struct {
	callsPerSecond float64
	p50, p99       time.Duration
	cpu            time.Duration
	bytesCopied    uint64
}

func (row measured) print(operation enginev1.Operation, size int, name string) {
	microseconds := func(duration time.Duration) float64 { return float64(duration) / 1e3 }
	fmt.Printf("%-5s %-8d %-28s %11.0f %11.2f %11.2f %11.2f %13d\n", nameOf(operation), size, name, row.callsPerSecond,
		microseconds(row.p50), microseconds(row.p99), microseconds(row.cpu), row.bytesCopied)
}

// measure makes calls of one kind for a while.
func measure(way way, operation enginev1.Operation, size int, duration time.Duration, callers int) (measured, error) {
	calling := make([]*callerState, callers)
	for index := range calling {
		state, err := newCallerState(way, size)
		if err != nil {
			return measured{}, err
		}
		defer state.close()
		if err := state.run(operation, func(calls int) bool { return calls < warmUpCalls }); err != nil {
			return measured{}, err
		}
		calling[index] = state
	}
	cpuBefore, start := cpuTime(way.processes), time.Now()
	end := start.Add(duration)
	var group sync.WaitGroup
	errs := make(chan error, callers)
	for _, state := range calling {
		group.Go(func() { errs <- state.run(operation, func(int) bool { return time.Now().Before(end) }) })
	}
	group.Wait()
	elapsed, cpu := time.Since(start), cpuTime(way.processes)-cpuBefore
	var latencies []time.Duration
	for _, state := range calling {
		if err := <-errs; err != nil {
			return measured{}, err
		}
		latencies = append(latencies, state.latencies...)
	}
	slices.Sort(latencies)
	count := len(latencies)
	return measured{
		callsPerSecond: float64(count) / elapsed.Seconds(),
		p50:            latencies[count/2],
		p99:            latencies[count*99/100],
		cpu:            cpu / time.Duration(count),
		bytesCopied:    calling[0].bytesCopied,
	}, nil
}

// callerState is one caller and what it has measured.
type callerState struct {
	caller      caller
	buffer      *engine.Buffer
	latencies   []time.Duration
	bytesCopied uint64
}

func newCallerState(way way, size int) (*callerState, error) {
	made, err := way.connect()
	if err != nil {
		return nil, err
	}
	buffer, err := way.reserve(size)
	if err != nil {
		made.close()
		return nil, err
	}
	for index := range buffer.Bytes {
		buffer.Bytes[index] = byte(index)
	}
	return &callerState{caller: made, buffer: buffer}, nil
}

func (state *callerState) close() {
	state.buffer.Release()
	state.caller.close()
}

func (state *callerState) run(operation enginev1.Operation, more func(calls int) bool) error {
	state.latencies = state.latencies[:0]
	for calls := 0; more(calls); calls++ {
		start := time.Now()
		copied, err := state.caller.call(operation, state.buffer.Bytes)
		state.latencies = append(state.latencies, time.Since(start))
		if err != nil {
			return err
		}
		state.bytesCopied = copied
	}
	return nil
}

// cpuTime is the time that this process and others have computed so far.
func cpuTime(others []int) time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	sum := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	for _, process := range others {
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", process))
		for _, thread := range threads {
			// The first number is nanoseconds on a CPU.
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", process, thread.Name()))
			nanoseconds, _, _ := strings.Cut(string(status), " ")
			computed, _ := strconv.ParseInt(nanoseconds, 10, 64)
			sum += time.Duration(computed)
		}
	}
	return sum
}

// printBare compares the shortest call through the library with a call of a C function that does nothing. Both are measured
// in turns; the least of many rounds is what no other process has disturbed.
func printBare(library way) error {
	caller, err := library.connect()
	if err != nil {
		return err
	}
	data := make([]byte, 64)
	var bare, echo, sum []time.Duration
	for range bareRounds {
		bare = append(bare, each(func() error { ffi.BareCall(); return nil }))
		echo = append(echo, each(func() error { _, err := caller.call(enginev1.Operation_OPERATION_ECHO, data); return err }))
		sum = append(sum, each(func() error { _, err := caller.call(enginev1.Operation_OPERATION_SUM, data); return err }))
	}
	for _, times := range [][]time.Duration{bare, echo, sum} {
		slices.Sort(times)
	}
	fmt.Println()
	for _, at := range []struct {
		name  string
		index int
	}{{"least", 0}, {"median", bareRounds / 2}} {
		nanoseconds := func(times []time.Duration) float64 { return float64(times[at.index]) / bareCalls }
		fmt.Printf("%-6s of %d rounds: a bare cgo call %.1f ns; echo of 64 bytes %.1f ns (%+.1f), sum %.1f ns (%+.1f)\n",
			at.name, bareRounds, nanoseconds(bare), nanoseconds(echo), nanoseconds(echo)-nanoseconds(bare),
			nanoseconds(sum), nanoseconds(sum)-nanoseconds(bare))
	}
	return nil
}

// each is the time of bareCalls calls.
func each(call func() error) time.Duration {
	start := time.Now()
	for range bareCalls {
		if err := call(); err != nil {
			panic(err)
		}
	}
	return time.Since(start)
}
