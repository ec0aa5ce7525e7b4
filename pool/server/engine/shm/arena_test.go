package shm

import (
	"math/rand/v2"
	"testing"
	"time"
)

func nothing(uint64, uint64) {}

func TestBlocksNeverOverlapAndAllComeBack(t *testing.T) {
	const bytes = 16 << 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	books := newArena(bytes, 0)
	type held struct {
		offset uint64
		order  int
	}
	var blocks []held
	owner := make([]bool, bytes/blockBytesMin)
	mark := func(block held, taken bool) {
		start := block.offset / blockBytesMin
		for leaf := start; leaf < start+1<<block.order; leaf++ {
			if owner[leaf] == taken {
				t.Fatalf("leaf %d: taken %v twice", leaf, taken)
			}
			owner[leaf] = taken
		}
	}
	for range 50_000 {
		if random.IntN(2) == 0 {
			order := blockOrder(1 + random.Uint64N(1<<random.UintN(21)))
			if offset, ok := books.take(order); ok {
				blocks = append(blocks, held{offset, order})
				mark(blocks[len(blocks)-1], true)
			}
		} else if len(blocks) > 0 {
			index := random.IntN(len(blocks))
			mark(blocks[index], false)
			books.give(blocks[index].offset, blocks[index].order, nothing)
			blocks[index] = blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
		}
	}
	for _, block := range blocks {
		books.give(block.offset, block.order, nothing)
	}
	if books.bytesTaken != 0 || books.touchedCount != 0 {
		t.Fatalf("%d bytes taken, %d chunks touched", books.bytesTaken, books.touchedCount)
	}
	if _, ok := books.take(blockOrder(bytes)); !ok {
		t.Fatal("the blocks did not join again")
	}
}

func TestAFullArenaRefuses(t *testing.T) {
	books := newArena(1<<20, 0)
	if _, ok := books.take(blockOrder(1<<20 + 1)); ok {
		t.Fatal("a block longer than the arena")
	}
	if _, ok := books.take(blockOrder(1 << 20)); !ok {
		t.Fatal("the whole arena was free")
	}
	if _, ok := books.take(0); ok {
		t.Fatal("nothing was free")
	}
}

func TestFreeMemoryBeyondWhatIsKeptGoesBackToTheSystem(t *testing.T) {
	books := newArena(16<<20, 2<<20)
	offset, _ := books.take(blockOrder(8 << 20))
	var given uint64
	books.give(offset, blockOrder(8<<20), func(offset, length uint64) {
		if offset < 2<<20 {
			t.Fatalf("the chunk at %d should stay", offset)
		}
		given += length
	})
	if given != 6<<20 {
		t.Fatalf("%d bytes went back", given)
	}
}
