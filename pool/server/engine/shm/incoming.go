package shm

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// incoming is the reading end of the reply queue. One goroutine sleeps until the worker writes the eventfd; who has sent a
// call may take the replies in its place, without sleeping, while it watches for its own.
type incoming struct {
	// mutex guards queue: one takes replies at a time.
	mutex sync.Mutex
	queue *queue[replySlot]
	// sleeping is 1 where the worker shall write the eventfd.
	sleeping *atomic.Uint32
	// blocked counts the worker's threads that wait for room in the queue.
	blocked  *atomic.Uint32
	patience patience
}

func newIncoming(control *memory) incoming {
	return incoming{
		queue:    newQueue[replySlot](control, atRepliesTail, atRepliesHead, atQueues+callSlots*256, replySlots),
		sleeping: control.word(atRepliesSleepers),
		blocked:  control.word(atRepliesBlocked),
	}
}

// read takes replies until the process has ended.
func (worker *worker) read() {
	defer worker.leave()
	defer close(worker.readerEnded)
	var counter [8]byte
	for worker.takeReplied() {
		if _, err := worker.wake.Read(counter[:]); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				worker.kill()
			}
			worker.takeReplied()
			return
		}
	}
}

func (worker *worker) takeReplied() bool {
	worker.replied.mutex.Lock()
	defer worker.replied.mutex.Unlock()
	return worker.settle()
}

// watchFor looks for the reply to a call for a moment, if that is worth it. Where somebody else takes replies just now,
// they bring it.
func (worker *worker) watchFor(entry *waiting) {
	replied := &worker.replied
	if !replied.patience.isWorthwhile() || !replied.mutex.TryLock() {
		return
	}
	defer replied.mutex.Unlock()
	replied.sleeping.Store(0)
	replied.patience.watch(func() bool {
		return replied.queue.isFilled() && (!worker.drain() || len(entry.wake) > 0)
	})
	worker.settle()
}

// settle takes all replies that are there, and leaves word that the next one shall wake the reader; false where the worker
// cannot be trusted any more. The caller holds the mutex.
func (worker *worker) settle() bool {
	for {
		if !worker.drain() {
			return false
		}
		worker.replied.sleeping.Store(1)
		if !worker.replied.queue.isFilled() {
			return true
		}
		worker.replied.sleeping.Store(0)
	}
}

// drain takes all replies that are there; false where the worker cannot be trusted any more. The caller holds the mutex.
func (worker *worker) drain() bool {
	replied := &worker.replied
	var slot replySlot
	for {
		found, err := replied.queue.pop(&slot)
		if err != nil {
			worker.kill()
			return false
		}
		if !found {
			return true
		}
		worker.deliver(&slot)
		if replied.blocked.Load() > 0 {
			wake(replied.queue.head, wakeAll)
		}
	}
}
