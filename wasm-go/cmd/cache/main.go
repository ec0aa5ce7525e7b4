// Command cache binds package cache to WebAssembly: one instance holds one index. Keys come in through a buffer in the
// instance's memory, times as milliseconds since the Unix epoch in a float64 (a whole number of them is exact).
package main

import (
	"unsafe"

	"treeline/wasm-go/cache"
)

var (
	index *cache.Index
	key   [cache.KeyBytesMax]byte
)

// Makes the index, in place of one made before: at most `entriesMax` entries (1 to 65,536) that weigh at most
// `weightMax` (1 to 2^52) together; `seed` varies the hash. Answers 0, or 1 where `entriesMax` is out of range, or 2
// where `weightMax` is. Every other function traps until this one has answered 0.
//
//go:wasmexport configure
func configure(entriesMax int32, weightMax float64, seed int32) int32 {
	made, err := cache.New(int(entriesMax), whole(weightMax), uint64(uint32(seed)))
	switch err {
	case nil:
		index = made
		return 0
	case cache.ErrEntries:
		return 1
	default:
		return 2
	}
}

// The address of the buffer that a key is written to before a call.
//
//go:wasmexport keyAddress
func keyAddress() int32 { return int32(uintptr(unsafe.Pointer(&key))) }

// The size of that buffer in bytes: the longest key.
//
//go:wasmexport keyBytesMax
func keyBytesMax() int32 { return cache.KeyBytesMax }

// The slot of the key in the buffer, or -1 where it is not held or its time is over. Traps where `keyLength` is longer
// than the buffer.
//
//go:wasmexport lookup
func lookup(keyLength int32, nowMs float64) int32 {
	return index.Lookup(key[:keyLength], whole(nowMs))
}

// Stores the key in the buffer with a weight for `ttlMs` milliseconds. Answers its slot, or -1 where it cannot be held:
// it is heavier than the whole cache, or lives for less than a millisecond. The slots given up are listed at
// `evictedAddress`; the new entry may reuse one of them.
//
//go:wasmexport insert
func insert(keyLength int32, weight float64, ttlMs float64, nowMs float64) int32 {
	return index.Insert(key[:keyLength], whole(weight), whole(ttlMs), whole(nowMs))
}

// Gives up the key in the buffer. Answers the slot that it had, or -1.
//
//go:wasmexport remove
func remove(keyLength int32) int32 { return index.Remove(key[:keyLength]) }

// Gives up all entries whose time is over. Answers how many; their slots are listed at `evictedAddress`.
//
//go:wasmexport sweep
func sweep(nowMs float64) int32 { return int32(index.Sweep(whole(nowMs))) }

// The address of the slots, an int32 each, that the last `insert` or `sweep` gave up.
//
//go:wasmexport evictedAddress
func evictedAddress() int32 {
	return int32(uintptr(unsafe.Pointer(unsafe.SliceData(index.Evicted()))))
}

// How many slots the last `insert` or `sweep` gave up.
//
//go:wasmexport evictedCount
func evictedCount() int32 { return int32(len(index.Evicted())) }

// Lookups that found a live entry.
//
//go:wasmexport hits
func hits() float64 { return float64(index.Statistics().Hits) }

// Lookups that did not.
//
//go:wasmexport misses
func misses() float64 { return float64(index.Statistics().Misses) }

// Entries stored, replacements included.
//
//go:wasmexport insertions
func insertions() float64 { return float64(index.Statistics().Insertions) }

// Insertions refused.
//
//go:wasmexport refusals
func refusals() float64 { return float64(index.Statistics().Refusals) }

// Live entries given up for room.
//
//go:wasmexport evictions
func evictions() float64 { return float64(index.Statistics().Evictions) }

// Entries that left because their time was over.
//
//go:wasmexport expirations
func expirations() float64 { return float64(index.Statistics().Expirations) }

// Entries removed by their key.
//
//go:wasmexport removals
func removals() float64 { return float64(index.Statistics().Removals) }

// Entries held now.
//
//go:wasmexport entries
func entries() float64 { return float64(index.Statistics().Entries) }

// Their total weight.
//
//go:wasmexport weight
func weight() float64 { return float64(index.Statistics().Weight) }

// wholeMax is the largest magnitude up to which a float64 holds every whole number.
const wholeMax = 1 << 53

// whole makes a whole number of a float64 from the host, in its range: converting NaN or infinity would
// otherwise depend on the platform. NaN becomes the lowest value.
func whole(value float64) int64 {
	if value > wholeMax {
		return wholeMax
	}
	if !(value >= -wholeMax) {
		return -wholeMax
	}
	return int64(value)
}

func main() {}
