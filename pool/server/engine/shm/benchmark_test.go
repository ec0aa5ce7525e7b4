package shm

import (
	"fmt"
	"testing"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

func BenchmarkSumInPlace(b *testing.B) {
	opened := open(b, nil)
	for _, size := range []int{64, 64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			buffer, err := opened.Reserve(size)
			if err != nil {
				b.Fatal(err)
			}
			defer buffer.Release()
			clear(buffer.Bytes)
			call := &engine.Call{Operation: enginev1.Operation_OPERATION_SUM, Payload: [][]byte{buffer.Bytes}}
			b.ReportAllocs()
			for b.Loop() {
				reply, err := opened.Call(b.Context(), call)
				if err != nil {
					b.Fatal(err)
				}
				reply.Release()
			}
		})
	}
}
