package models

import (
	"sync/atomic"

	"treeline.dev/pool/engine"
)

// reservedBytesMax bounds the memory of the engine that requests hold together, from the moment that they begin to be read.
// Beyond it they are read into memory of this process, so that slow clients do not keep others' calls from the engine.
const reservedBytesMax = 256 << 20

// reserver is a provider whose engine reads tensors where they lie in memory that it gives.
type reserver interface {
	Reserve(size int) (*engine.Buffer, error)
}

// Reserve gives memory from which the engine that answers for the model reads a tensor without a copy, or nil where there
// is none now. The caller releases it once it has the answer. A call may carry any other memory as well.
func (catalogue *Catalogue) Reserve(model string, size int) *engine.Buffer {
	known := catalogue.routes.Load()
	if known == nil {
		return nil
	}
	provider, ok := known.byName[catalogue.Resolve(model)].provider.(reserver)
	if !ok {
		return nil
	}
	return catalogue.reserved.take(size, provider)
}

// reserved counts the bytes that are out.
type reserved struct{ bytes atomic.Int64 }

func (reserved *reserved) take(size int, from reserver) *engine.Buffer {
	if reserved.bytes.Add(int64(size)) > reservedBytesMax {
		reserved.bytes.Add(-int64(size))
		return nil
	}
	buffer, err := from.Reserve(size)
	if err != nil {
		// No room there now: the call waits for it, or is refused, when it is made.
		reserved.bytes.Add(-int64(size))
		return nil
	}
	return engine.NewBuffer(buffer.Bytes, func() {
		buffer.Release()
		reserved.bytes.Add(-int64(size))
	})
}
