package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestLimitsOutOfRangeAreRefused(t *testing.T) {
	for _, test := range []struct {
		entriesMax int
		weightMax  int64
		want       error
	}{
		{0, 1, ErrEntries},
		{-1, 1, ErrEntries},
		{EntriesMax + 1, 1, ErrEntries},
		{1, 0, ErrWeight},
		{1, WeightMax + 1, ErrWeight},
		{1, 1, nil},
		{EntriesMax, WeightMax, nil},
	} {
		if _, err := New(test.entriesMax, test.weightMax, 0); !errors.Is(err, test.want) {
			t.Errorf("New(%d, %d): %v, want %v", test.entriesMax, test.weightMax, err, test.want)
		}
	}
}

func TestAnEntryLivesUntilItsTimeIsOverAndNotLonger(t *testing.T) {
	index := newIndex(t, 4, 100)
	slot := index.Insert([]byte("a"), 1, 50, 1000)
	if got := index.Lookup([]byte("a"), 1049); got != slot {
		t.Errorf("a millisecond before its end: slot %d, want %d", got, slot)
	}
	if got := index.Lookup([]byte("a"), 1050); got != NoSlot {
		t.Errorf("at its end: slot %d, want none", got)
	}
}

func TestTheLeastRecentlyUsedEntryLeavesFirst(t *testing.T) {
	index := newIndex(t, 3, 100)
	slots := map[string]int32{}
	for _, key := range []string{"a", "b", "c"} {
		slots[key] = index.Insert([]byte(key), 1, 1000, 0)
	}
	index.Lookup([]byte("a"), 1)
	index.Insert([]byte("d"), 1, 1000, 1)
	if want := []int32{slots["b"]}; !slices.Equal(index.Evicted(), want) {
		t.Errorf("evicted %v, want %v", index.Evicted(), want)
	}
}

func TestAnExpiredEntryLeavesBeforeALiveOne(t *testing.T) {
	index := newIndex(t, 2, 100)
	index.Insert([]byte("long"), 1, 1000, 0)
	short := index.Insert([]byte("short"), 1, 10, 0)
	index.Lookup([]byte("short"), 5) // the most recently used, and yet the first to go
	index.Insert([]byte("new"), 1, 1000, 10)
	if want := []int32{short}; !slices.Equal(index.Evicted(), want) {
		t.Errorf("evicted %v, want %v", index.Evicted(), want)
	}
	if index.Lookup([]byte("long"), 10) == NoSlot {
		t.Error("the live entry was given up")
	}
}

func TestWeightIsKeptUnderItsMaximum(t *testing.T) {
	index := newIndex(t, 10, 100)
	for i := range 4 {
		index.Insert(fmt.Appendf(nil, "%d", i), 30, 1000, 0)
	}
	if weight := index.Statistics().Weight; weight != 90 {
		t.Errorf("weight %d, want 90", weight)
	}
	index.Insert([]byte("all"), 100, 1000, 0)
	if statistics := index.Statistics(); statistics.Entries != 1 || statistics.Weight != 100 {
		t.Errorf("an entry as heavy as the cache leaves %+v", statistics)
	}
}

func TestWhatCannotBeHeldIsRefusedAndItsFormerEntryGivenUp(t *testing.T) {
	for name, insert := range map[string]func(*Index) int32{
		"too heavy":      func(index *Index) int32 { return index.Insert([]byte("a"), 101, 1000, 0) },
		"negative":       func(index *Index) int32 { return index.Insert([]byte("a"), -1, 1000, 0) },
		"no time":        func(index *Index) int32 { return index.Insert([]byte("a"), 1, 0, 0) },
		"negative times": func(index *Index) int32 { return index.Insert([]byte("a"), 1, -5, 0) },
	} {
		index := newIndex(t, 4, 100)
		slot := index.Insert([]byte("a"), 1, 1000, 0)
		if got := insert(index); got != NoSlot {
			t.Errorf("%s: slot %d, want none", name, got)
		}
		if want := []int32{slot}; !slices.Equal(index.Evicted(), want) || index.Lookup([]byte("a"), 1) != NoSlot {
			t.Errorf("%s: the former entry stayed", name)
		}
	}
}

func TestAKeyThatIsTooLongIsNeitherStoredNorFound(t *testing.T) {
	index := newIndex(t, 4, 100)
	longest, tooLong := make([]byte, KeyBytesMax), make([]byte, KeyBytesMax+1)
	if index.Insert(longest, 1, 1000, 0) == NoSlot || index.Lookup(longest, 0) == NoSlot {
		t.Error("the longest key was refused")
	}
	if index.Insert(tooLong, 1, 1000, 0) != NoSlot || index.Lookup(tooLong, 0) != NoSlot || index.Remove(tooLong) != NoSlot {
		t.Error("a key that is too long was taken")
	}
}

func TestKeysThatDifferInOneByteAreDifferentKeys(t *testing.T) {
	for length := 1; length <= KeyBytesMax; length++ {
		index := newIndex(t, KeyBytesMax+1, 100)
		key := make([]byte, length)
		slots := map[int32]bool{index.Insert(key, 1, 1000, 0): true}
		for at := range key {
			key[at] = 1
			slots[index.Insert(key, 1, 1000, 0)] = true
			key[at] = 0
		}
		if len(slots) != length+1 {
			t.Errorf("%d keys of %d bytes share slots", length+1, length)
		}
		// Whatever they hash to, the bytes tell them apart.
		one := &entry{keyLength: int32(length)}
		for at := range key {
			key[at] = 1
			if equalKey(one, key) {
				t.Errorf("byte %d of %d is not compared", at, length)
			}
			key[at] = 0
		}
	}
}

func TestAHeldKeyKeepsItsSlotHoweverMuchIsEvictedForIt(t *testing.T) {
	index := newIndex(t, 4, 100)
	slot := index.Insert([]byte("a"), 10, 5, 0)
	for _, key := range []string{"b", "c", "d"} {
		index.Insert([]byte(key), 10, 1000, 0)
	}
	if got := index.Insert([]byte("a"), 100, 1000, 5); got != slot {
		t.Errorf("slot %d, want %d", got, slot)
	}
	if len(index.Evicted()) != 3 || slices.Contains(index.Evicted(), slot) {
		t.Errorf("evicted %v, want the three others", index.Evicted())
	}
}

func TestTheLongestTimeToLiveIsBounded(t *testing.T) {
	index := newIndex(t, 1, 1)
	index.Insert([]byte("a"), 1, 1<<62, 0)
	if index.Lookup([]byte("a"), TTLMsMax-1) == NoSlot || index.Lookup([]byte("a"), TTLMsMax) != NoSlot {
		t.Error("the time to live was not shortened to its maximum")
	}
}

func TestNothingIsAllocatedAfterNew(t *testing.T) {
	index := newIndex(t, 64, 1000)
	key, now := []byte("00"), int64(0)
	allocations := testing.AllocsPerRun(10_000, func() {
		now++
		key[0], key[1] = byte(now*7), byte(now>>3)
		index.Insert(key, now%40, 1+now%90, now)
		index.Lookup(key, now)
		if now%5 == 0 {
			index.Remove(key)
		}
		index.Sweep(now)
	})
	if allocations != 0 {
		t.Errorf("%v allocations a round, want none", allocations)
	}
}

func TestRandomOperationsAgreeWithTheTwin(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(300) {
		source := rand.New(rand.NewPCG(seed, round))
		operations := make([]byte, 4*400)
		for i := range operations {
			operations[i] = byte(source.Uint32())
		}
		compareWithTwin(t, 1+int(source.Uint32N(12)), 1+int64(source.Uint32N(60)), source.Uint64(), operations)
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
}

func FuzzOperationsAgreeWithTheTwin(f *testing.F) {
	f.Add(uint8(3), uint8(20), uint64(1), []byte("\x00\x01\x05\x09\x01\x01\x00\x01\x02\x01\x00\x00\x03\x00\x00\x40"))
	f.Fuzz(func(t *testing.T, entriesMax, weightMax uint8, seed uint64, operations []byte) {
		compareWithTwin(t, 1+int(entriesMax%16), 1+int64(weightMax), seed, operations)
	})
}

// compareWithTwin runs the same operations, four bytes each, on an index and on its twin, and compares every answer.
func compareWithTwin(t *testing.T, entriesMax int, weightMax int64, seed uint64, operations []byte) {
	t.Helper()
	index, err := New(entriesMax, weightMax, seed)
	if err != nil {
		t.Fatal(err)
	}
	twin := &twin{entriesMax: entriesMax, weightMax: weightMax, slots: map[string]int32{}}
	now := int64(1_000)
	for at := 0; at+4 <= len(operations); at += 4 {
		number := int(operations[at+1] % 24)
		kind, key := operations[at]%8, fmt.Appendf(nil, "key-%0*d", 1+number%4*19, number)
		a, b := int64(operations[at+2]), int64(operations[at+3])
		now += b % 4
		switch kind {
		case 0, 1, 2:
			twin.insert(t, index, string(key), a%24-1, b%64-1, now)
		case 3, 4, 5:
			twin.lookup(t, index, string(key), now)
		case 6:
			twin.remove(t, index, string(key))
		case 7:
			twin.sweep(t, index, now)
		}
		if got := index.Statistics(); got != twin.statistics {
			t.Fatalf("after operation %d at %d: statistics %+v, want %+v", at/4, now, got, twin.statistics)
		}
		if t.Failed() {
			t.Fatalf("operation %d at %d (kind %d, key %s)", at/4, now, kind, key)
		}
	}
}

func newIndex(t *testing.T, entriesMax int, weightMax int64) *Index {
	t.Helper()
	index, err := New(entriesMax, weightMax, 7)
	if err != nil {
		t.Fatal(err)
	}
	return index
}
