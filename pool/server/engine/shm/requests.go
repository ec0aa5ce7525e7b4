package shm

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// requestBytesKept is free memory of the request arena that stays with this process.
	requestBytesKept = 64 << 20
	// roomWaitMax is how long a call waits for room before it is refused as OVERLOADED.
	roomWaitMax = 200 * time.Millisecond
	// roomLookInterval is how often it looks.
	roomLookInterval = time.Millisecond
)

// requests is the request arena: written here, read by all workers, which can map it for reading alone.
type requests struct {
	memory *memory
	shared *os.File

	mutex  sync.Mutex
	arena  *arena
	blocks map[uint64]*block
	// users are the engine, blocks that are out, and nothing else; the memory is unmapped when the last one goes.
	users  int
	closed bool
}

// block is a taken part of the arena. It is free again when nobody uses it: the caller's buffer and each call that
// names it count.
type block struct {
	requests *requests
	offset   uint64
	order    int
	users    atomic.Int32
}

func newRequests(size int) (*requests, error) {
	memory, err := newMemory("treeline-requests", size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	shared, err := memory.readOnly()
	if err != nil {
		memory.close()
		return nil, err
	}
	arena := newArena(uint64(size), requestBytesKept)
	return &requests{memory: memory, shared: shared, arena: arena, blocks: map[uint64]*block{}, users: 1}, nil
}

// take takes a block for length bytes, with one user. It waits a little for room.
func (requests *requests) take(length int) (*block, error) {
	order := blockOrder(uint64(length))
	deadline := time.Time{}
	for {
		if taken := requests.tryTake(order); taken != nil {
			return taken, nil
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(roomWaitMax)
		}
		if requests.isClosed() {
			return nil, engine.Refused(enginev1.Status_STATUS_UNAVAILABLE)
		}
		if now.After(deadline) {
			return nil, &engine.Error{
				Status:  enginev1.Status_STATUS_OVERLOADED,
				Message: fmt.Sprintf("The memory that is shared with the engine has no room for %d bytes now.", length),
			}
		}
		time.Sleep(roomLookInterval)
	}
}

func (requests *requests) tryTake(order int) *block {
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	if requests.closed {
		return nil
	}
	offset, ok := requests.arena.take(order)
	if !ok {
		return nil
	}
	taken := &block{requests: requests, offset: offset, order: order}
	taken.users.Store(1)
	requests.blocks[offset] = taken
	requests.users++
	return taken
}

func (requests *requests) isClosed() bool {
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	return requests.closed
}

// find is the block in which segment lies, with one user more, and where in the arena; nil where it lies elsewhere.
func (requests *requests) find(segment []byte) (*block, piece) {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(segment)))
	base := uintptr(unsafe.Pointer(unsafe.SliceData(requests.memory.bytes)))
	if start < base || start-base >= uintptr(len(requests.memory.bytes)) {
		return nil, piece{}
	}
	at := piece{offset: uint64(start - base), length: uint64(len(segment))}
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	// Blocks are aligned to their length: one of each order could hold the offset.
	for order := 0; order <= requests.arena.height; order++ {
		length := uint64(blockBytesMin) << order
		begin := at.offset &^ (length - 1)
		found := requests.blocks[begin]
		if found != nil && at.offset+at.length <= begin+blockBytesMin<<found.order {
			found.users.Add(1)
			return found, at
		}
	}
	return nil, piece{}
}

// bytes is the block's memory.
func (block *block) bytes(length int) []byte {
	return block.requests.memory.bytes[block.offset:][:length:length]
}

// release takes one user away.
func (block *block) release() {
	if block.users.Add(-1) > 0 {
		return
	}
	requests := block.requests
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	delete(requests.blocks, block.offset)
	requests.arena.give(block.offset, block.order, requests.memory.giveBack)
	requests.leave()
}

// close lets the memory go as soon as no block is out.
func (requests *requests) close() {
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	if !requests.closed {
		requests.closed = true
		_ = requests.shared.Close()
		requests.leave()
	}
}

func (requests *requests) leave() {
	requests.users--
	if requests.users == 0 {
		requests.memory.close()
	}
}
