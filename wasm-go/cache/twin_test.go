package cache

import (
	"slices"
	"testing"
)

// twin does what Index does in the most obvious way: a list from newest to oldest use, searched from end to end. Which
// slot a new entry gets is the index's own business; the twin only holds it to hand out free ones.
type twin struct {
	entriesMax int
	weightMax  int64
	uses       []twinEntry // newest first
	slots      map[string]int32
	statistics Statistics
}

type twinEntry struct {
	key         string
	weight      int64
	expiresAtMs int64
}

func (twin *twin) position(key string) int {
	return slices.IndexFunc(twin.uses, func(entry twinEntry) bool { return entry.key == key })
}

func (twin *twin) weight() (total int64) {
	for _, entry := range twin.uses {
		total += entry.weight
	}
	return total
}

// drop forgets the entry at a position and returns its slot.
func (twin *twin) drop(at int) int32 {
	slot := twin.slots[twin.uses[at].key]
	delete(twin.slots, twin.uses[at].key)
	twin.uses = slices.Delete(twin.uses, at, at+1)
	twin.level()
	return slot
}

func (twin *twin) level() {
	twin.statistics.Entries = int64(len(twin.uses))
	twin.statistics.Weight = twin.weight()
}

func (twin *twin) expire(nowMs int64) (slots []int32) {
	for at := len(twin.uses) - 1; at >= 0; at-- {
		if twin.uses[at].expiresAtMs <= nowMs {
			slots = append(slots, twin.drop(at))
			twin.statistics.Expirations++
		}
	}
	return slots
}

func (twin *twin) lookup(t *testing.T, index *Index, key string, nowMs int64) {
	t.Helper()
	want := int32(NoSlot)
	if at := twin.position(key); at >= 0 && twin.uses[at].expiresAtMs > nowMs {
		want = twin.slots[key]
		entry := twin.uses[at]
		twin.uses = slices.Insert(slices.Delete(twin.uses, at, at+1), 0, entry)
		twin.statistics.Hits++
	} else {
		twin.statistics.Misses++
	}
	if got := index.Lookup([]byte(key), nowMs); got != want {
		t.Errorf("lookup of %s: slot %d, want %d", key, got, want)
	}
}

func (twin *twin) remove(t *testing.T, index *Index, key string) {
	t.Helper()
	want := int32(NoSlot)
	if at := twin.position(key); at >= 0 {
		want = twin.drop(at)
		twin.statistics.Removals++
	}
	if got := index.Remove([]byte(key)); got != want {
		t.Errorf("removal of %s: slot %d, want %d", key, got, want)
	}
}

func (twin *twin) sweep(t *testing.T, index *Index, nowMs int64) {
	t.Helper()
	want := twin.expire(nowMs)
	count := index.Sweep(nowMs)
	if count != len(want) || !sameSlots(index.Evicted(), want) {
		t.Errorf("sweep gave up %v, want %v", index.Evicted(), want)
	}
}

func (twin *twin) insert(t *testing.T, index *Index, key string, weight, ttlMs, nowMs int64) {
	t.Helper()
	former := int32(NoSlot)
	if at := twin.position(key); at >= 0 {
		former = twin.drop(at)
	}
	if weight < 0 || weight > twin.weightMax || ttlMs < 1 {
		twin.refuse(t, index, key, former, index.Insert([]byte(key), weight, ttlMs, nowMs))
		return
	}
	expired := twin.expire(nowMs)
	var evicted []int32
	for twin.weight()+weight > twin.weightMax || len(twin.uses) == twin.entriesMax {
		evicted = append(evicted, twin.drop(len(twin.uses)-1))
		twin.statistics.Evictions++
	}
	slot := index.Insert([]byte(key), weight, ttlMs, nowMs)
	got := index.Evicted()
	if len(got) != len(expired)+len(evicted) || !sameSlots(got[:len(expired)], expired) || !slices.Equal(got[len(expired):], evicted) {
		t.Errorf("insertion of %s gave up %v, want %v in any order, then %v", key, got, expired, evicted)
	}
	twin.holdToFreeSlot(t, key, slot, former)
	twin.uses = slices.Insert(twin.uses, 0, twinEntry{key, weight, nowMs + ttlMs})
	twin.slots[key] = slot
	twin.statistics.Insertions++
	twin.level()
}

func (twin *twin) refuse(t *testing.T, index *Index, key string, former, slot int32) {
	t.Helper()
	twin.statistics.Refusals++
	var want []int32
	if former != NoSlot {
		want = []int32{former}
		twin.statistics.Removals++
	}
	if slot != NoSlot || !slices.Equal(index.Evicted(), want) {
		t.Errorf("refused insertion of %s: slot %d and %v, want none and %v", key, slot, index.Evicted(), want)
	}
}

func (twin *twin) holdToFreeSlot(t *testing.T, key string, slot, former int32) {
	t.Helper()
	if slot < 0 || int(slot) >= twin.entriesMax || former != NoSlot && slot != former {
		t.Errorf("insertion of %s: slot %d of %d, formerly %d", key, slot, twin.entriesMax, former)
	}
	for other, taken := range twin.slots {
		if taken == slot {
			t.Errorf("insertion of %s: slot %d belongs to %s", key, slot, other)
		}
	}
}

// sameSlots compares without order: entries that expire in the same call leave in an order of the heap's choice.
func sameSlots(got, want []int32) bool {
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}
