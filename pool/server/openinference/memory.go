package openinference

import (
	"io"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
)

// memory is where the tensors of one call are put while the call is read: the engine's own, from which it reads them
// without a copy, where it has some to give. A nil memory is this process's alone.
type memory struct {
	reserve func(size int) *engine.Buffer
	buffers []*engine.Buffer
}

// memoryFor is memory of the engine that answers for a model. It must be released once the answer has been written, which
// may lie in it.
func (oip *Door) memoryFor(model string) *memory {
	return &memory{reserve: func(size int) *engine.Buffer { return oip.Models.Reserve(model, size) }}
}

// take gives memory of the engine; nil where there is none.
func (memory *memory) take(size int) []byte {
	if memory == nil || size == 0 {
		return nil
	}
	buffer := memory.reserve(size)
	if buffer == nil {
		return nil
	}
	memory.buffers = append(memory.buffers, buffer)
	return buffer.Bytes
}

// room gives an empty slice to append size bytes to.
func (memory *memory) room(size int) []byte {
	if taken := memory.take(size); taken != nil {
		return taken[:0]
	}
	return make([]byte, 0, size)
}

// read reads the next size bytes of a body.
func (memory *memory) read(body *door.Body, size int) ([]byte, error) {
	into := memory.take(size)
	if into == nil {
		return body.ReadNext(size)
	}
	_, err := io.ReadFull(body, into)
	return into, err
}

// release gives all of it back.
func (memory *memory) release() {
	for _, buffer := range memory.buffers {
		buffer.Release()
	}
	memory.buffers = nil
}
