//go:build ffi

package ffi

import (
	"testing"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

func BenchmarkBareCall(b *testing.B) {
	for b.Loop() {
		BareCall()
	}
}

func BenchmarkEcho64(b *testing.B)  { benchmark(b, enginev1.Operation_OPERATION_ECHO, 64) }
func BenchmarkSum64(b *testing.B)   { benchmark(b, enginev1.Operation_OPERATION_SUM, 64) }
func BenchmarkSum1MiB(b *testing.B) { benchmark(b, enginev1.Operation_OPERATION_SUM, 1<<20) }

func benchmark(b *testing.B, operation enginev1.Operation, size int) {
	opened := openForTest(b)
	call := &engine.Call{Operation: operation, Payload: [][]byte{make([]byte, size)}}
	b.ReportAllocs()
	for b.Loop() {
		reply, err := opened.Call(b.Context(), call)
		if err != nil {
			b.Fatal(err)
		}
		reply.Release()
	}
}
