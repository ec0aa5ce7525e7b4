package cache

// The two orders of the entries: by last use (a doubly linked list) and by expiry (a binary heap that knows where each
// slot lies, so that any entry can leave it).

// linkNewest puts a slot at the recently used end of the list.
func (index *Index) linkNewest(slot int32) {
	entry := &index.entries[slot]
	entry.newer = NoSlot
	entry.older = index.newest
	if index.newest == NoSlot {
		index.oldest = slot
	} else {
		index.entries[index.newest].newer = slot
	}
	index.newest = slot
}

// unlinkUse takes a slot out of the list.
func (index *Index) unlinkUse(slot int32) {
	newer, older := index.entries[slot].newer, index.entries[slot].older
	if newer == NoSlot {
		index.newest = older
	} else {
		index.entries[newer].older = older
	}
	if older == NoSlot {
		index.oldest = newer
	} else {
		index.entries[older].newer = newer
	}
}

// pushHeap adds a slot to the heap. There is room: the heap holds each slot at most once.
func (index *Index) pushHeap(slot int32) {
	index.heap = append(index.heap, slot)
	index.riseHeap(len(index.heap) - 1)
}

// removeHeap takes a slot out of the heap: the last one takes its place and finds its own from there.
func (index *Index) removeHeap(slot int32) {
	at := int(index.entries[slot].heapAt)
	last := len(index.heap) - 1
	moved := index.heap[last]
	index.heap = index.heap[:last]
	index.entries[slot].heapAt = NoSlot
	if moved == slot {
		return
	}
	index.heap[at] = moved
	index.riseHeap(at)
	index.sinkHeap(int(index.entries[moved].heapAt))
}

// riseHeap moves the slot at a position towards the root while it expires before its parent.
func (index *Index) riseHeap(at int) {
	slot := index.heap[at]
	for at > 0 {
		parent := (at - 1) / 2
		if !index.expiresBefore(slot, index.heap[parent]) {
			break
		}
		index.placeHeap(index.heap[parent], at)
		at = parent
	}
	index.placeHeap(slot, at)
}

// sinkHeap moves the slot at a position away from the root while a child expires before it.
func (index *Index) sinkHeap(at int) {
	slot := index.heap[at]
	for {
		child := 2*at + 1
		if child >= len(index.heap) {
			break
		}
		if right := child + 1; right < len(index.heap) && index.expiresBefore(index.heap[right], index.heap[child]) {
			child = right
		}
		if !index.expiresBefore(index.heap[child], slot) {
			break
		}
		index.placeHeap(index.heap[child], at)
		at = child
	}
	index.placeHeap(slot, at)
}

func (index *Index) placeHeap(slot int32, at int) {
	index.heap[at] = slot
	index.entries[slot].heapAt = int32(at)
}

func (index *Index) expiresBefore(a, b int32) bool {
	return index.entries[a].expiresAtMs < index.entries[b].expiresAtMs
}
