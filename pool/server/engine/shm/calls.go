package shm

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"treeline.dev/pool/engine"
)

// prepared is a call whose header and segments lie in the request arena: it can be sent, and sent again to another worker.
type prepared struct {
	slot        callSlot
	payload     [][]byte
	bytesCopied uint64
	// blocks are in use until the worker has answered.
	blocks [4]*block
	more   []*block
	count  int
}

func (call *prepared) hold(block *block) {
	if call.count < len(call.blocks) {
		call.blocks[call.count] = block
	} else {
		call.more = append(call.more, block)
	}
	call.count++
}

// release gives the call's hold on its blocks up.
func (call *prepared) release() {
	for index := range min(call.count, len(call.blocks)) {
		call.blocks[index].release()
	}
	for _, block := range call.more {
		block.release()
	}
	call.count, call.more = 0, nil
}

// prepare puts into the arena what does not lie there yet.
func (requests *requests) prepare(ctx context.Context, call *engine.Call) (*prepared, error) {
	if err := engine.CheckBounds(call); err != nil {
		return nil, err
	}
	made := &prepared{payload: call.Payload}
	made.slot.operation = uint32(call.Operation)
	made.slot.priority = uint32(call.Priority)
	made.slot.segmentCount = uint32(len(call.Payload))
	if deadline, ok := ctx.Deadline(); ok {
		made.slot.deadlineNs = uint64(max(time.Until(deadline), 1))
	}
	trace := engine.ParseTrace(call.Traceparent)
	made.slot.traceID, made.slot.spanID, made.slot.traceFlags = trace.TraceID, trace.SpanID, trace.Flags
	if err := requests.fill(made, call); err != nil {
		made.release()
		return nil, err
	}
	return made, nil
}

func (requests *requests) fill(made *prepared, call *engine.Call) error {
	if len(call.Header) > 0 {
		block, err := requests.take(len(call.Header))
		if err != nil {
			return err
		}
		made.hold(block)
		copy(block.bytes(len(call.Header)), call.Header)
		made.slot.headerOffset, made.slot.headerLength = block.offset, uint32(len(call.Header))
	}
	pieces := made.slot.pieces[:]
	if len(call.Payload) > callPieces {
		block, err := requests.take(len(call.Payload) * pieceBytes)
		if err != nil {
			return err
		}
		made.hold(block)
		made.slot.tableOffset = block.offset
		table := block.bytes(len(call.Payload) * pieceBytes)
		pieces = unsafe.Slice((*piece)(unsafe.Pointer(&table[0])), len(call.Payload))
	}
	for index, segment := range call.Payload {
		placed, err := requests.place(made, segment)
		if err != nil {
			return err
		}
		pieces[index] = placed
	}
	return nil
}

// place finds the segment in the arena, or copies it there.
func (requests *requests) place(made *prepared, segment []byte) (piece, error) {
	if len(segment) == 0 {
		return piece{}, nil
	}
	if block, at := requests.find(segment); block != nil {
		made.hold(block)
		return at, nil
	}
	block, err := requests.take(len(segment))
	if err != nil {
		return piece{}, err
	}
	made.hold(block)
	copy(block.bytes(len(segment)), segment)
	made.bytesCopied += uint64(len(segment))
	return piece{offset: block.offset, length: uint64(len(segment))}, nil
}

// pendingRepliesMax bounds the replies of one stream that wait for a slow reader; the call is cancelled beyond that.
const pendingRepliesMax = 16384

// waiting is a call that a worker has not answered wholly. Its fields belong to the table's mutex.
type waiting struct {
	call   uint64
	sent   *prepared
	stream bool
	// abandoned: nobody waits any more; what comes is given back.
	abandoned bool
	replies   []replySlot
	ended     bool
	// crashed: the worker ended before the call did.
	crashed bool
	// overrun: the reader was too slow.
	overrun bool
	// wake tells the one who waits that something has changed.
	wake chan struct{}
}

// table holds the calls of one worker that run.
type table struct {
	mutex   sync.Mutex
	calls   [runningMax]*waiting
	free    []uint32
	next    uint32
	running int
	dead    bool
}

func newTable() *table {
	made := &table{free: make([]uint32, runningMax)}
	for index := range made.free {
		made.free[index] = uint32(runningMax - 1 - index)
	}
	return made
}

// add registers a call, gives it a number, and counts it among the users of the worker's memory, which is there as long as
// the worker has not ended. False where it has ended, or has as many calls as it may.
func (table *table) add(entry *waiting, users *atomic.Int64) (ok, dead bool) {
	table.mutex.Lock()
	defer table.mutex.Unlock()
	if table.dead || len(table.free) == 0 {
		return false, table.dead
	}
	index := table.free[len(table.free)-1]
	table.free = table.free[:len(table.free)-1]
	// The upper half makes numbers unique for long: a late or repeated reply finds nothing.
	table.next = (table.next + 1) % math.MaxUint32
	entry.call = uint64(table.next)<<32 | uint64(index)
	table.calls[index] = entry
	table.running++
	users.Add(1)
	return true, false
}

// find is the call with that number, or nil. The caller holds the mutex.
func (table *table) find(call uint64) *waiting {
	index := uint32(call)
	if index >= runningMax || table.calls[index] == nil || table.calls[index].call != call {
		return nil
	}
	return table.calls[index]
}

// remove forgets a call. The caller holds the mutex.
func (table *table) remove(entry *waiting) {
	index := uint32(entry.call)
	table.calls[index] = nil
	table.free = append(table.free, index)
	table.running--
	entry.sent.release()
}

// load is how many calls run.
func (table *table) load() int {
	table.mutex.Lock()
	defer table.mutex.Unlock()
	return table.running
}

func (entry *waiting) notify() {
	select {
	case entry.wake <- struct{}{}:
	default:
	}
}
