package shm

import (
	"errors"
	"sync/atomic"
	"unsafe"
)

// errCorrupt means that the worker wrote what a queue cannot hold. It is ended then.
var errCorrupt = errors.New("shm: the worker spoiled a queue")

// queue is a queue of fixed slots with one writer and one reader (Lamport 1983). Head and tail count slots ever read and
// written, modulo 2³².
type queue[slot any] struct {
	tail, head *atomic.Uint32
	slots      []slot
	// own is this side's counter, whatever the other side makes of the shared word.
	own uint32
}

func newQueue[slot any](memory *memory, tail, head, at, count int) *queue[slot] {
	var one slot
	part := memory.bytes[at : at+count*int(unsafe.Sizeof(one))]
	slots := unsafe.Slice((*slot)(unsafe.Pointer(&part[0])), count)
	return &queue[slot]{tail: memory.word(tail), head: memory.word(head), slots: slots}
}

// push appends a slot; false where there is no room. The writer alone calls it.
func (queue *queue[slot]) push(value *slot) (bool, error) {
	used := queue.own - queue.head.Load()
	if used > uint32(len(queue.slots)) {
		return false, errCorrupt
	}
	if used == uint32(len(queue.slots)) {
		return false, nil
	}
	queue.slots[queue.own%uint32(len(queue.slots))] = *value
	queue.own++
	// Sequentially consistent, as the sleepers' counters are: either the sleeper sees the slot, or we see the sleeper.
	queue.tail.Store(queue.own)
	return true, nil
}

// isFilled tells whether a slot is there to be taken, or the queue is spoiled, as pop then tells. The reader alone calls it.
func (queue *queue[slot]) isFilled() bool { return queue.tail.Load() != queue.own }

// pop copies the next slot out, once: what is checked is what is used. The reader alone calls it.
func (queue *queue[slot]) pop(value *slot) (bool, error) {
	filled := queue.tail.Load() - queue.own
	if filled == 0 {
		return false, nil
	}
	if filled > uint32(len(queue.slots)) {
		return false, errCorrupt
	}
	*value = queue.slots[queue.own%uint32(len(queue.slots))]
	queue.own++
	queue.head.Store(queue.own)
	return true, nil
}
