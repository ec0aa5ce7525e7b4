//go:build ffi

package ffi

/*
#include <stdlib.h>
#include "treeline_engine.h"
*/
import "C"

import (
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// eventsMax is how many events are taken at once.
	eventsMax = C.TREELINE_EVENTS_MAX
	// pollTimeout is how long the reader sleeps in the engine at most.
	pollTimeout = time.Second
	// pendingMax bounds the events of one stream that wait for a slow reader; the call is cancelled beyond that.
	pendingMax = 16384
)

// streams are the generations that run, by number.
type streams struct {
	mutex  sync.Mutex
	byID   map[uint64]*stream
	lastID uint64
}

// stream is one generation. Its fields belong to its mutex.
type stream struct {
	mutex   sync.Mutex
	events  []C.treeline_event
	overrun bool
	// abandoned: nobody reads any more; what comes is given back.
	abandoned bool
	wake      chan struct{}
	// done is called once the engine has sent the last event.
	done func()
}

func (streams *streams) add(added *stream) uint64 {
	streams.mutex.Lock()
	defer streams.mutex.Unlock()
	if streams.byID == nil {
		streams.byID = map[uint64]*stream{}
	}
	streams.lastID++
	streams.byID[streams.lastID] = added
	return streams.lastID
}

func (streams *streams) find(id uint64, remove bool) *stream {
	streams.mutex.Lock()
	defer streams.mutex.Unlock()
	found := streams.byID[id]
	if remove {
		delete(streams.byID, id)
	}
	return found
}

// poll hands events to their streams until the engine is closed.
func (ffi *Engine) poll() {
	defer close(ffi.polled)
	// The array is the engine's to write during the call: it must not lie on this goroutine's stack, which may move.
	events := (*[eventsMax]C.treeline_event)(C.malloc(C.size_t(eventsMax * unsafe.Sizeof(C.treeline_event{}))))
	defer C.free(unsafe.Pointer(events))
	for ffi.running.Load() != closing {
		count := C.treeline_engine_poll(ffi.handle, &events[0], eventsMax, C.uint64_t(pollTimeout))
		for _, event := range events[:count] {
			last := event.last != 0
			if found := ffi.streams.find(uint64(event.stream), last); found != nil {
				found.put(event)
				if last {
					found.done()
				}
			} else {
				C.treeline_memory_release(event.memory)
			}
		}
	}
}

func (stream *stream) put(event C.treeline_event) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	switch {
	case stream.abandoned || stream.overrun:
		C.treeline_memory_release(event.memory)
		return
	case len(stream.events) >= pendingMax:
		C.treeline_memory_release(event.memory)
		stream.overrun = true
	default:
		stream.events = append(stream.events, event)
	}
	select {
	case stream.wake <- struct{}{}:
	default:
	}
}

func (stream *stream) take() (events []C.treeline_event, overrun bool) {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	events = stream.events
	stream.events = nil
	return events, stream.overrun
}

func (stream *stream) abandon() {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()
	stream.abandoned = true
	release(stream.events)
	stream.events = nil
}

func release(events []C.treeline_event) {
	for _, event := range events {
		C.treeline_memory_release(event.memory)
	}
}

// Stream makes a call with many replies.
func (ffi *Engine) Stream(ctx context.Context, call *engine.Call, receive func(*engine.Reply) error) error {
	if err := ctx.Err(); err != nil {
		return engine.OfContext(err)
	}
	if call.Operation != enginev1.Operation_OPERATION_GENERATE {
		return ffi.streamOne(ctx, call, receive)
	}
	if !ffi.enter() {
		return engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
	}
	// The engine works on a generation that was given up until it sees that; only its last event ends the call.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cancellation, stop := cancelWith(ctx)
	done := func() {
		stop()
		ffi.leave()
	}
	made := &stream{wake: make(chan struct{}, 1), done: done}
	id := ffi.streams.add(made)
	start := now()
	if err := ffi.generate(ctx, call, cancellation, id); err != nil {
		ffi.streams.find(id, true)
		done()
		return err
	}
	defer made.abandon()
	return made.read(ctx, start, receive)
}

// streamOne is a call with one reply as a stream.
func (ffi *Engine) streamOne(ctx context.Context, call *engine.Call, receive func(*engine.Reply) error) error {
	reply, err := ffi.Call(ctx, call)
	if err != nil {
		return err
	}
	defer reply.Release()
	return receive(reply)
}

func (ffi *Engine) generate(
	ctx context.Context, call *engine.Call, cancellation *C.treeline_cancellation, id uint64,
) error {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	request, err := prepare(ctx, call, &pinner)
	if err != nil {
		return err
	}
	var answer C.treeline_reply
	C.treeline_engine_generate(ffi.handle, request, cancellation, C.uint64_t(id), &answer)
	if answer.status != 0 {
		return failed(&answer)
	}
	C.treeline_memory_release(answer.memory)
	return nil
}

// errOverrun is the failure of a stream whose reader was too slow.
var errOverrun = &engine.Error{
	Status:  enginev1.Status_STATUS_CANCELLED,
	Message: "The text was not read as fast as it came.",
}

// read gives each reply to receive until the last one.
func (stream *stream) read(ctx context.Context, start time.Duration, receive func(*engine.Reply) error) error {
	for {
		select {
		case <-stream.wake:
		case <-ctx.Done():
			return engine.OfContext(ctx.Err())
		}
		events, overrun := stream.take()
		for index, event := range events {
			ended, err := handOn(event, start, receive)
			if ended || err != nil {
				release(events[index+1:])
				return err
			}
		}
		if overrun {
			return errOverrun
		}
	}
}

// handOn gives one event to receive. The end without an error carries no message.
func handOn(event C.treeline_event, start time.Duration, receive func(*engine.Reply) error) (ended bool, err error) {
	ended = event.last != 0
	header := bytesOf(event.header)
	if event.status != 0 {
		defer C.treeline_memory_release(event.memory)
		return true, engine.Failed(enginev1.Status(event.status), header)
	}
	if ended && len(header) == 0 {
		return true, nil
	}
	reply := engine.NewReply(header, nil, 0, now()-start, func() { C.treeline_memory_release(event.memory) })
	defer reply.Release()
	return ended, receive(reply)
}
