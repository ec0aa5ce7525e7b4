package shm

import "math/bits"

const (
	// blockBytesMin is the smallest block.
	blockBytesMin = 256
	// chunkBytes is the unit in which memory goes back to the system.
	chunkBytes = 1 << 20
	chunkOrder = 12 // blockBytesMin << chunkOrder == chunkBytes
)

// arena is a buddy allocator (Knowlton 1965): blocks are powers of two, and a free block joins its equal neighbour. Its
// books are a binary tree, in which each node knows the largest free block below it; they lie in private memory. The
// lowest free block is taken first, which keeps the memory in use dense. Not for several goroutines at once.
type arena struct {
	// tree has node 1 as its root and 2n, 2n+1 as children of n. A value is the order of the largest free block plus
	// one; 0: none.
	tree   []uint8
	height int
	// bytesTaken is the length of all blocks taken.
	bytesTaken uint64
	// touched marks chunks that may have pages behind them.
	touched      []bool
	touchedCount uint64
	// chunksKept may stay touched while they are free.
	chunksKept uint64
}

// newArena makes the books of `bytes` bytes, a power of two of at least chunkBytes.
func newArena(bytes, bytesKept uint64) *arena {
	height := bits.Len64(bytes/blockBytesMin) - 1
	made := &arena{
		tree:       make([]uint8, 2<<height),
		height:     height,
		touched:    make([]bool, bytes/chunkBytes),
		chunksKept: bytesKept / chunkBytes,
	}
	for node := range made.tree {
		if node > 0 {
			made.tree[node] = uint8(made.orderOf(node)) + 1
		}
	}
	return made
}

// orderOf is the order of a node's whole block.
func (arena *arena) orderOf(node int) int { return arena.height - (bits.Len(uint(node)) - 1) }

// blockOrder is the order of the smallest block that holds length bytes.
func blockOrder(length uint64) int {
	if length <= blockBytesMin {
		return 0
	}
	return bits.Len64((length - 1) / blockBytesMin)
}

// take takes a block of that order and gives its offset; false where none is free.
func (arena *arena) take(order int) (uint64, bool) {
	want := uint8(order) + 1
	if order > arena.height || arena.tree[1] < want {
		return 0, false
	}
	node := 1
	for arena.orderOf(node) > order {
		node *= 2
		if arena.tree[node] < want {
			node++
		}
	}
	arena.tree[node] = 0
	arena.correct(node)
	index := uint64(node) - 1<<(arena.height-order)
	offset := index * (blockBytesMin << order)
	arena.bytesTaken += blockBytesMin << order
	arena.touch(offset, blockBytesMin<<order)
	return offset, true
}

// correct brings the parents of a changed node up to date.
func (arena *arena) correct(node int) {
	for node > 1 {
		node /= 2
		left, right := arena.tree[2*node], arena.tree[2*node+1]
		half := uint8(arena.orderOf(node)) // The value of a child that is wholly free.
		largest := max(left, right)
		if left == half && right == half {
			largest = half + 1
		}
		if arena.tree[node] == largest {
			return
		}
		arena.tree[node] = largest
	}
}

// give gives a taken block back. The chunks that shall go back to the system are passed to giveBack.
func (arena *arena) give(offset uint64, order int, giveBack func(offset, length uint64)) {
	node := int(offset/(blockBytesMin<<order)) + 1<<(arena.height-order)
	arena.tree[node] = uint8(order) + 1
	arena.correct(node)
	arena.bytesTaken -= blockBytesMin << order
	first, last := offset/chunkBytes, (offset+(blockBytesMin<<order)-1)/chunkBytes
	if order < chunkOrder && arena.tree[node>>(chunkOrder-order)] != chunkOrder+1 {
		return // Something else of the chunk is still taken.
	}
	arena.cool(first, last, giveBack)
}

func (arena *arena) touch(offset, length uint64) {
	for chunk := offset / chunkBytes; chunk <= (offset+length-1)/chunkBytes; chunk++ {
		if !arena.touched[chunk] {
			arena.touched[chunk] = true
			arena.touchedCount++
		}
	}
}

// cool returns free chunks to the system, the last first, while more than chunksKept are free.
func (arena *arena) cool(first, last uint64, giveBack func(offset, length uint64)) {
	for chunk := last + 1; chunk > first; chunk-- {
		used := (arena.bytesTaken + chunkBytes - 1) / chunkBytes
		if arena.touchedCount <= arena.chunksKept+used {
			return
		}
		if arena.touched[chunk-1] {
			arena.touched[chunk-1] = false
			arena.touchedCount--
			giveBack((chunk-1)*chunkBytes, chunkBytes)
		}
	}
}
