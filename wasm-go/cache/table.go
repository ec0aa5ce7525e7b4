package cache

// The hash table: chains of slots, their heads in buckets. It holds twice as many buckets as entries or more, so a
// chain is about half an entry long.

// bucketCount is the smallest power of two that is at least twice entriesMax.
func bucketCount(entriesMax int) int {
	count := 2
	for count < 2*entriesMax {
		count *= 2
	}
	return count
}

// find returns the slot that holds key, expired or not, or NoSlot.
func (index *Index) find(key []byte) int32 {
	if len(key) > KeyBytesMax {
		return NoSlot
	}
	hash := hashKey(key, index.seed)
	slot := index.buckets[index.bucket(hash)]
	for slot != NoSlot {
		entry := &index.entries[slot]
		if entry.hash == hash && equalKey(entry, key) {
			return slot
		}
		slot = entry.chain
	}
	return NoSlot
}

// occupy takes the wanted slot, or any where wanted is NoSlot, off the free list and enters key into the table. There
// must be a free slot.
func (index *Index) occupy(wanted int32, key []byte) int32 {
	slot := index.takeFree(wanted)
	entry := &index.entries[slot]
	entry.hash = hashKey(key, index.seed)
	entry.keyLength = int32(copy(entry.key[:], key))
	bucket := index.bucket(entry.hash)
	entry.chain = index.buckets[bucket]
	index.buckets[bucket] = slot
	return slot
}

// takeFree takes the wanted slot off the free list, or the list's head where wanted is NoSlot. A wanted slot is one
// that its own Insert released, so it lies no deeper than what that Insert evicted after it.
func (index *Index) takeFree(wanted int32) int32 {
	link := &index.free
	for wanted != NoSlot && *link != wanted {
		link = &index.entries[*link].chain
	}
	slot := *link
	*link = index.entries[slot].chain
	return slot
}

// unlinkChain takes a slot out of its hash chain.
func (index *Index) unlinkChain(slot int32) {
	link := &index.buckets[index.bucket(index.entries[slot].hash)]
	for *link != slot {
		link = &index.entries[*link].chain
	}
	*link = index.entries[slot].chain
}

func (index *Index) bucket(hash uint64) int { return int(hash & uint64(len(index.buckets)-1)) }

// equalKey compares eight bytes at a time, then what is left.
func equalKey(entry *entry, key []byte) bool {
	if int(entry.keyLength) != len(key) {
		return false
	}
	stored := entry.key[:len(key)]
	for len(key) >= 8 {
		if word(stored) != word(key) {
			return false
		}
		stored, key = stored[8:], key[8:]
	}
	for i := range key {
		if stored[i] != key[i] {
			return false
		}
	}
	return true
}

// hashKey mixes the key eight bytes at a time by multiplication and shifts (the constants are those of splitmix64,
// Steele, Lea and Flood 2014). It only spreads keys over buckets: equality is decided on the bytes.
func hashKey(key []byte, seed uint64) uint64 {
	hash := mix(seed ^ uint64(len(key))*0x9e3779b97f4a7c15)
	for len(key) >= 8 {
		hash = mix(hash ^ word(key))
		key = key[8:]
	}
	tail := uint64(0)
	for i, value := range key {
		tail |= uint64(value) << (8 * i)
	}
	return mix(hash ^ tail)
}

func mix(value uint64) uint64 {
	value += 0x9e3779b97f4a7c15
	value = (value ^ value>>30) * 0xbf58476d1ce4e5b9
	value = (value ^ value>>27) * 0x94d049bb133111eb
	return value ^ value>>31
}

// word reads eight bytes, lowest first.
func word(bytes []byte) uint64 {
	_ = bytes[7]
	return uint64(bytes[0]) | uint64(bytes[1])<<8 | uint64(bytes[2])<<16 | uint64(bytes[3])<<24 |
		uint64(bytes[4])<<32 | uint64(bytes[5])<<40 | uint64(bytes[6])<<48 | uint64(bytes[7])<<56
}
