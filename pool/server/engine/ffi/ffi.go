//go:build ffi

// Package ffi reaches the engine as a library that is linked into this process (pool/engine/engine-ffi). Payloads are read
// by the engine where Go has them, replies by Go where the engine has them: nothing is copied. Build tag ffi; the library
// must lie in pool/dist (pool/build.sh engine).
//
// Calls with one reply run on the thread that makes them. Generations answer through one queue, which one goroutine reads.
package ffi

/*
#cgo CFLAGS: -I${SRCDIR}/../../../engine/engine-ffi/include
#cgo LDFLAGS: -L${SRCDIR}/../../../dist -ltreeline_engine -lm -ldl -lpthread -lgcc_s
#cgo noescape treeline_engine_call_plain
#cgo nocallback treeline_engine_call_plain
#cgo noescape treeline_engine_call
#cgo nocallback treeline_engine_call
#cgo noescape treeline_engine_generate
#cgo nocallback treeline_engine_generate
#cgo nocallback treeline_engine_poll
#cgo nocallback treeline_memory_release
#include "treeline_engine.h"
*/
import "C"

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// threadsMax bounds calls that may last and run at once: each holds a thread of this process.
	threadsMax = 256
	// closeLookInterval is how often Close looks whether calls still run.
	closeLookInterval = 2 * time.Millisecond
)

// The compiler refuses these where a structure is not as long as in treeline_engine.h.
var (
	_ [80 - unsafe.Sizeof(C.treeline_call{})]struct{}
	_ [unsafe.Sizeof(C.treeline_call{}) - 80]struct{}
	_ [56 - unsafe.Sizeof(C.treeline_reply{})]struct{}
	_ [unsafe.Sizeof(C.treeline_reply{}) - 56]struct{}
	_ [40 - unsafe.Sizeof(C.treeline_event{})]struct{}
	_ [unsafe.Sizeof(C.treeline_event{}) - 40]struct{}
	_ [engine.ABIVersion - C.TREELINE_ABI_VERSION]struct{}
	_ [C.TREELINE_ABI_VERSION - engine.ABIVersion]struct{}
	_ [C.TREELINE_SEGMENTS_MAX - engine.SegmentsMax]struct{}
)

// Options are how the engine is opened.
type Options struct {
	// Settings are the engine's.
	Settings engine.Settings
	// Contract is what the library must have been built from; zero: engine.Built. Other values are for tests.
	Contract engine.Contract
}

// Engine is the engine in this process.
type Engine struct {
	handle *C.treeline_engine
	// running counts calls and generations; closing is added to it, so that one word tells both.
	running atomic.Int64
	threads chan struct{}
	streams streams
	// polled is closed when no event is read any more.
	polled chan struct{}
}

// closing is added to running once no call is taken any more.
const closing = int64(-1) << 62

var _ engine.Engine = (*Engine)(nil)

// Open opens the engine; models may still be loading when it returns.
func Open(options Options) (*Engine, error) {
	contract := options.Contract.OrBuilt()
	hash, config := []byte(contract.Hash), []byte(options.Settings.JSON())
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var failure C.treeline_reply
	handle := C.treeline_engine_open(C.uint32_t(contract.ABIVersion), pinned(&pinner, hash), pinned(&pinner, config), &failure)
	if handle == nil {
		defer C.treeline_memory_release(failure.memory)
		return nil, engine.Failed(enginev1.Status(failure.status), bytesOf(failure.header))
	}
	opened := &Engine{handle: handle, threads: make(chan struct{}, threadsMax), polled: make(chan struct{})}
	go opened.poll()
	if err := opened.checkVersion(contract); err != nil {
		_ = opened.Close(context.Background())
		return nil, err
	}
	return opened, nil
}

func (ffi *Engine) checkVersion(contract engine.Contract) error {
	hello, err := ffi.Call(context.Background(), &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if err != nil {
		return err
	}
	defer hello.Release()
	return contract.Check(hello.Header)
}

// Transport is ffi.
func (ffi *Engine) Transport() string { return "ffi" }

// Reserve gives memory of Go's heap: the engine reads all of that where it lies.
func (ffi *Engine) Reserve(size int) (*engine.Buffer, error) {
	if err := engine.CheckReserve(size); err != nil {
		return nil, err
	}
	return engine.NewBuffer(make([]byte, size), nil), nil
}

// enter counts a call; false where the engine closes.
func (ffi *Engine) enter() bool {
	if ffi.running.Add(1) > 0 {
		return true
	}
	ffi.running.Add(-1)
	return false
}

func (ffi *Engine) leave() { ffi.running.Add(-1) }

// Call makes a call with one reply, on this thread.
func (ffi *Engine) Call(ctx context.Context, call *engine.Call) (*engine.Reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, engine.OfContext(err)
	}
	if !ffi.enter() {
		return nil, engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
	}
	defer ffi.leave()
	if isPlain(call) {
		if reply := ffi.callPlain(call); reply != nil {
			return reply, nil
		}
	}
	return ffi.callWhole(ctx, call)
}

// isPlain tells whether a call has one segment and nothing else, and is over before anybody could cancel it.
func isPlain(call *engine.Call) bool {
	return len(call.Payload) == 1 && len(call.Header) == 0 &&
		(call.Operation == enginev1.Operation_OPERATION_ECHO || call.Operation == enginev1.Operation_OPERATION_SUM)
}

// plainReply is a reply and all that it refers to.
type plainReply struct {
	reply   engine.Reply
	payload [1][]byte
	word    [8]byte
}

// plainReplies are made many at a time: an allocation for each would be a quarter of the call's time. None is used twice;
// all go when nobody has one of them.
type plainReplies struct {
	replies [32]plainReply
	used    int
}

var plainRepliesLeft = sync.Pool{New: func() any { return new(plainReplies) }}

func newPlainReply() *plainReply {
	left := plainRepliesLeft.Get().(*plainReplies)
	made := &left.replies[left.used]
	left.used++
	if left.used < len(left.replies) {
		plainRepliesLeft.Put(left)
	}
	return made
}

// callPlain leaves Elapsed 0: two looks at the clock would take about as long as the call. It gives nil where the call is
// not answered this way.
func (ffi *Engine) callPlain(call *engine.Call) *engine.Reply {
	segment := call.Payload[0]
	// A pointer to bytes is passed as it is; Go does not move or free it during the call.
	data := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(segment)))
	made := newPlainReply()
	word := (*C.uint8_t)(unsafe.Pointer(&made.word))
	flags := C.treeline_engine_call_plain(ffi.handle, C.uint32_t(call.Operation), data, C.size_t(len(segment)), word)
	switch flags {
	case C.TREELINE_REPLY_ECHO:
		made.payload[0] = segment
	case C.TREELINE_REPLY_WORD:
		made.payload[0] = made.word[:]
	default:
		return nil
	}
	made.reply.Payload = made.payload[:]
	return &made.reply
}

// started is what now counts from.
var started = time.Now()

// now reads the monotonic clock alone, which costs half of time.Now.
func now() time.Duration { return time.Since(started) }

func (ffi *Engine) callWhole(ctx context.Context, call *engine.Call) (*engine.Reply, error) {
	select {
	case ffi.threads <- struct{}{}:
		defer func() { <-ffi.threads }()
	case <-ctx.Done():
		return nil, engine.OfContext(ctx.Err())
	}
	cancellation, stop := cancelWith(ctx)
	defer stop()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	request, err := prepare(ctx, call, &pinner)
	if err != nil {
		return nil, err
	}
	var answer C.treeline_reply
	start := now()
	C.treeline_engine_call(ffi.handle, request, cancellation, &answer)
	elapsed := now() - start
	// The caller's bytes must live until here, whatever the compiler knows of them.
	runtime.KeepAlive(call)
	if answer.status != 0 {
		return nil, failed(&answer)
	}
	return open(&answer, call, elapsed), nil
}

// open makes a reply whose bytes stay where the engine has them until the release.
func open(answer *C.treeline_reply, call *engine.Call, elapsed time.Duration) *engine.Reply {
	payload := make([][]byte, int(answer.segment_count))
	for index, segment := range unsafe.Slice(answer.segments, int(answer.segment_count)) {
		payload[index] = bytesOf(segment)
	}
	switch {
	case answer.flags&C.TREELINE_REPLY_ECHO != 0:
		payload = call.Payload
	case answer.flags&C.TREELINE_REPLY_WORD != 0:
		word := *(*[8]byte)(unsafe.Pointer(&answer.word))
		payload = [][]byte{word[:]}
	}
	memory := answer.memory
	if memory == nil {
		return engine.NewReply(nil, payload, 0, elapsed, nil)
	}
	release := func() { C.treeline_memory_release(memory) }
	return engine.NewReply(bytesOf(answer.header), payload, 0, elapsed, release)
}

func failed(answer *C.treeline_reply) error {
	defer C.treeline_memory_release(answer.memory)
	return engine.Failed(enginev1.Status(answer.status), bytesOf(answer.header))
}

// bytesOf is memory of the engine as a slice.
func bytesOf(bytes C.treeline_bytes) []byte {
	return unsafe.Slice((*byte)(bytes.data), int(bytes.length))
}

// pinned is memory of Go for the engine, which stays where it is until the pinner is unpinned.
func pinned(pinner *runtime.Pinner, bytes []byte) C.treeline_bytes {
	if len(bytes) == 0 {
		return C.treeline_bytes{}
	}
	data := unsafe.SliceData(bytes)
	pinner.Pin(data)
	return C.treeline_bytes{data: (*C.uint8_t)(data), length: C.size_t(len(bytes))}
}

// prepare is a call in the structure of the C ABI. All that it refers to is pinned.
func prepare(ctx context.Context, call *engine.Call, pinner *runtime.Pinner) (*C.treeline_call, error) {
	if err := engine.CheckBounds(call); err != nil {
		return nil, err
	}
	made := &C.treeline_call{
		header:        pinned(pinner, call.Header),
		segment_count: C.size_t(len(call.Payload)),
		operation:     C.uint32_t(call.Operation),
		priority:      C.uint32_t(call.Priority),
	}
	if len(call.Payload) > 0 {
		segments := make([]C.treeline_bytes, len(call.Payload))
		for index, segment := range call.Payload {
			segments[index] = pinned(pinner, segment)
		}
		made.segments = unsafe.SliceData(segments)
		pinner.Pin(made.segments)
	}
	if deadline, ok := ctx.Deadline(); ok {
		made.deadline_ns = C.uint64_t(max(time.Until(deadline), 1))
	}
	trace := engine.ParseTrace(call.Traceparent)
	made.trace_id = *(*[16]C.uint8_t)(unsafe.Pointer(&trace.TraceID))
	made.span_id = *(*[8]C.uint8_t)(unsafe.Pointer(&trace.SpanID))
	made.trace_flags = C.uint8_t(trace.Flags)
	pinner.Pin(made)
	return made, nil
}

// cancelWith is a cancellation that follows ctx, until stop; nil where ctx never ends.
func cancelWith(ctx context.Context) (cancellation *C.treeline_cancellation, stop func()) {
	if ctx.Done() == nil {
		return nil, func() {}
	}
	cancellation = C.treeline_cancellation_new()
	var mutex sync.Mutex
	freed := false
	forget := context.AfterFunc(ctx, func() {
		mutex.Lock()
		defer mutex.Unlock()
		if !freed {
			C.treeline_cancellation_cancel(cancellation)
		}
	})
	return cancellation, func() {
		forget()
		mutex.Lock()
		defer mutex.Unlock()
		freed = true
		C.treeline_cancellation_free(cancellation)
	}
}

// Close waits for running calls until ctx ends, and ends the engine. Where calls still run then, the engine is left as it
// is, for it may not be taken away under them.
func (ffi *Engine) Close(ctx context.Context) error {
	if ffi.running.Add(closing) < closing {
		ffi.running.Add(-closing)
		return nil // Closed before.
	}
	C.treeline_engine_drain(ffi.handle)
	for ffi.running.Load() != closing {
		select {
		case <-ctx.Done():
			return engine.OfContext(ctx.Err())
		case <-time.After(closeLookInterval):
		}
	}
	C.treeline_engine_wake(ffi.handle)
	<-ffi.polled
	C.treeline_engine_close(ffi.handle)
	return nil
}
