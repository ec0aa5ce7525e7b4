// Package cache is the index of a bounded cache: which keys are held, in which slot, until when, and which to give up
// first. The values stay with the caller, in an array of its own that the slot numbers point into.
//
// The index is a deterministic state machine. Time is an argument, there is no goroutine, no map and no allocation
// after New, so the same calls give the same evictions natively and in WebAssembly.
package cache

import "errors"

const (
	// KeyBytesMax is the longest key in bytes: a SHA-256 in hexadecimal just fits. Keys are stored and compared whole,
	// so two keys never share an entry, whatever they hash to.
	KeyBytesMax = 64
	// EntriesMax bounds the number of entries of one index. At about 110 bytes each the tables then hold 7 MB.
	EntriesMax = 1 << 16
	// WeightMax bounds a total weight. It keeps sums exact in a float64, which is how a JavaScript host reads them.
	WeightMax = 1 << 52
	// TTLMsMax bounds a time to live: ten years in milliseconds. A longer one is shortened to it.
	TTLMsMax = 10 * 365 * 24 * 3600 * 1000
	// NoSlot stands for "there is no such entry".
	NoSlot = -1
)

var (
	// ErrEntries says that the number of entries is out of range.
	ErrEntries = errors.New("cache: entries must be in 1..65536")
	// ErrWeight says that the total weight is out of range.
	ErrWeight = errors.New("cache: weight must be in 1..2^52")
)

// Statistics counts what happened since New. All counters only grow, except Entries and Weight, which are levels.
type Statistics struct {
	Hits        int64 // lookups that found a live entry
	Misses      int64 // lookups that did not
	Insertions  int64 // entries stored, replacements included
	Refusals    int64 // insertions refused because the entry alone outweighs the whole cache or its key is too long
	Evictions   int64 // live entries given up for room
	Expirations int64 // entries that left because their time was over
	Removals    int64 // entries removed by their key
	Entries     int64 // entries held now, expired ones that have not been collected included
	Weight      int64 // their total weight
}

// entry is one slot of the table. An entry in use is a member of three structures at once: a hash chain, the list from
// newest to oldest use, and the heap ordered by expiry.
type entry struct {
	key         [KeyBytesMax]byte
	keyLength   int32
	chain       int32 // next slot with the same bucket; the next free slot while the entry is free
	newer       int32 // neighbour that was used more recently
	older       int32 // neighbour that was used less recently
	heapAt      int32 // position in the heap; -1 while the entry is free
	hash        uint64
	weight      int64
	expiresAtMs int64
}

// Index is a least-recently-used index with a time to live per entry, bounded by weight and by number of entries. The
// zero value is not usable; see New.
type Index struct {
	entries    []entry
	buckets    []int32 // heads of the hash chains; the length is a power of two
	heap       []int32 // slots ordered as a binary heap: the one that expires first is at 0
	evicted    []int32 // what the last Insert or Sweep gave up
	free       int32   // head of the list of free slots
	newest     int32
	oldest     int32
	weightMax  int64
	seed       uint64
	statistics Statistics
}

// New makes an empty index for at most entriesMax entries (1..EntriesMax) that together weigh at most weightMax
// (1..WeightMax; the unit is the caller's, usually bytes). The seed varies the hash, so that nobody can prepare keys
// that all fall into one bucket without knowing it.
func New(entriesMax int, weightMax int64, seed uint64) (*Index, error) {
	if entriesMax < 1 || entriesMax > EntriesMax {
		return nil, ErrEntries
	}
	if weightMax < 1 || weightMax > WeightMax {
		return nil, ErrWeight
	}
	index := &Index{
		entries:   make([]entry, entriesMax),
		buckets:   make([]int32, bucketCount(entriesMax)),
		heap:      make([]int32, 0, entriesMax),
		evicted:   make([]int32, 0, entriesMax),
		newest:    NoSlot,
		oldest:    NoSlot,
		weightMax: weightMax,
		seed:      seed,
	}
	for bucket := range index.buckets {
		index.buckets[bucket] = NoSlot
	}
	for slot := range index.entries {
		index.entries[slot].heapAt = NoSlot
		index.entries[slot].chain = int32(slot) + 1
	}
	index.entries[entriesMax-1].chain = NoSlot
	return index, nil
}

// Lookup returns the slot of key and marks it as just used, or NoSlot where it is not held or its time is over at
// nowMs. An expired entry stays in its slot, and in the statistics' weight, until Insert or Sweep reports it: only then
// does the caller know to let go of the value.
func (index *Index) Lookup(key []byte, nowMs int64) int32 {
	slot := index.find(key)
	if slot == NoSlot || index.entries[slot].expiresAtMs <= nowMs {
		index.statistics.Misses++
		return NoSlot
	}
	index.statistics.Hits++
	if slot != index.newest {
		index.unlinkUse(slot)
		index.linkNewest(slot)
	}
	return slot
}

// Insert stores key with a weight (at least 0) until nowMs+ttlMs and returns its slot; Evicted then lists the slots
// that were given up for it, first those whose time was over, then the least recently used. The new entry may reuse one
// of them, so the caller lets go of the evicted values first and stores the new value second. A key that is held keeps
// its slot. The answer is NoSlot where the entry cannot be held: it outweighs the whole cache, lives for less than a
// millisecond, or its key is longer than KeyBytesMax; the key's former entry is then given up too, since its value is
// no longer the current one.
func (index *Index) Insert(key []byte, weight, ttlMs, nowMs int64) int32 {
	index.evicted = index.evicted[:0]
	slot := index.find(key)
	if weight < 0 || weight > index.weightMax || ttlMs < 1 || len(key) > KeyBytesMax {
		index.statistics.Refusals++
		if slot != NoSlot {
			index.giveUp(slot)
			index.statistics.Removals++
		}
		return NoSlot
	}
	// A key that is held leaves first, so that it is neither collected as expired nor evicted for itself.
	if slot != NoSlot {
		index.release(slot)
	}
	index.collectExpired(nowMs)
	index.makeRoom(weight)
	slot = index.occupy(slot, key)
	entry := &index.entries[slot]
	entry.weight = weight
	entry.expiresAtMs = nowMs + min(ttlMs, TTLMsMax)
	index.statistics.Entries++
	index.statistics.Weight += weight
	index.statistics.Insertions++
	index.linkNewest(slot)
	index.pushHeap(slot)
	return slot
}

// Remove gives up key and returns the slot that it had, or NoSlot where it was not held. An expired entry that has not
// been collected yet counts as held.
func (index *Index) Remove(key []byte) int32 {
	slot := index.find(key)
	if slot != NoSlot {
		index.release(slot)
		index.statistics.Removals++
	}
	return slot
}

// Sweep gives up every entry whose time is over at nowMs and returns how many; Evicted lists their slots.
func (index *Index) Sweep(nowMs int64) int {
	index.evicted = index.evicted[:0]
	index.collectExpired(nowMs)
	return len(index.evicted)
}

// Evicted lists the slots that the last Insert or Sweep gave up. It is valid until the next of these calls.
func (index *Index) Evicted() []int32 { return index.evicted }

// Statistics returns a copy of the counters.
func (index *Index) Statistics() Statistics { return index.statistics }

// collectExpired gives up all entries whose time is over. Each entry is collected once in its life, so the cost of a
// long collection has been paid for by as many insertions.
func (index *Index) collectExpired(nowMs int64) {
	for len(index.heap) > 0 && index.entries[index.heap[0]].expiresAtMs <= nowMs {
		index.giveUp(index.heap[0])
		index.statistics.Expirations++
	}
}

// makeRoom evicts the least recently used entries until one more of the given weight fits.
func (index *Index) makeRoom(weight int64) {
	for index.statistics.Weight+weight > index.weightMax || len(index.heap) == len(index.entries) {
		index.giveUp(index.oldest)
		index.statistics.Evictions++
	}
}

// giveUp releases a slot and reports it to the caller.
func (index *Index) giveUp(slot int32) {
	index.release(slot)
	index.evicted = append(index.evicted, slot)
}

// release takes a slot out of all structures and puts it at the head of the free list.
func (index *Index) release(slot int32) {
	entry := &index.entries[slot]
	index.unlinkChain(slot)
	index.unlinkUse(slot)
	index.removeHeap(slot)
	index.statistics.Entries--
	index.statistics.Weight -= entry.weight
	entry.chain = index.free
	index.free = slot
}
