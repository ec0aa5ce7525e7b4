// Package enginetest is what every transport to the engine must do alike. Each transport's tests call Run.
package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Transport is what the suite must know of a transport.
type Transport struct {
	// Engine is open, and closed by the caller.
	Engine engine.Engine
	// InPlace: reserved memory travels without a copy.
	InPlace bool
	// AllInPlace: all memory does.
	AllInPlace bool
}

// Run checks a transport.
func Run(t *testing.T, transport Transport) {
	t.Run("a segment comes back from ECHO as it was, whatever its length", transport.echo)
	t.Run("tensors of every datatype come back from ECHO as they were", transport.datatypes)
	t.Run("SUM adds all bytes", transport.sum)
	t.Run("memory from Reserve is not copied", transport.reserved)
	t.Run("many segments keep their order", transport.manySegments)
	t.Run("calls from many goroutines get their own replies", transport.parallel)
	t.Run("HELLO tells the contract", transport.hello)
	t.Run("STATS counts calls", transport.stats)
	t.Run("a malformed call is refused and hurts no other", transport.malformed)
	t.Run("a model that is not there is refused with its name", transport.noModel)
	t.Run("a stream about a model that is not there ends with the reason", transport.noStream)
	t.Run("a context that has ended is not called with", transport.ended)
	t.Run("tensors of every datatype pass a model unchanged", transport.inferDatatypes)
	t.Run("malformed tensors are refused", transport.malformedTensors)
	t.Run("a huge tensor passes, and one beyond the bound is refused", transport.hugeTensor)
	t.Run("a stream brings every piece in its order", transport.stream)
	t.Run("many streams at once keep apart", transport.manyStreams)
	t.Run("a stream is ended from this side, and the engine stops", transport.endStreams)
	t.Run("a reader slower than its stream hurts nobody", transport.slowReader)
}

func (transport Transport) call(t *testing.T, operation enginev1.Operation, payload ...[]byte) *engine.Reply {
	t.Helper()
	reply, err := transport.Engine.Call(t.Context(), &engine.Call{Operation: operation, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func noise(size int) []byte {
	seed := uint64(size) + 1
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	bytes := make([]byte, size)
	_, _ = random.Read(bytes)
	return bytes
}

func (transport Transport) echo(t *testing.T) {
	for _, size := range []int{0, 1, 7, 64, 4095, 4096, 65537, 1 << 20, 16<<20 + 3} {
		sent := noise(size)
		reply := transport.call(t, enginev1.Operation_OPERATION_ECHO, sent)
		if len(reply.Payload) != 1 || !bytes.Equal(reply.Payload[0], sent) {
			t.Fatalf("%d bytes came back otherwise", size)
		}
		if transport.AllInPlace && reply.BytesCopied != 0 {
			t.Fatalf("%d of %d bytes were copied", reply.BytesCopied, size)
		}
		reply.Release()
		reply.Release() // The second does nothing.
	}
	reply := transport.call(t, enginev1.Operation_OPERATION_ECHO)
	defer reply.Release()
	if len(reply.Payload) != 0 {
		t.Fatalf("no segment became %d", len(reply.Payload))
	}
}

// datatypeBytes are the bytes of an element; 0: BYTES, whose elements differ.
var datatypeBytes = map[string]int{
	"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
	"FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}

func (transport Transport) datatypes(t *testing.T) {
	const elements = 1001 // Odd, so that no length is a multiple of a word by chance.
	for datatype, size := range datatypeBytes {
		tensor := elementsOf(datatype, size, elements)
		buffer, err := transport.Engine.Reserve(len(tensor))
		if err != nil {
			t.Fatal(err)
		}
		copy(buffer.Bytes, tensor)
		reply := transport.call(t, enginev1.Operation_OPERATION_ECHO, buffer.Bytes, tensor)
		for _, segment := range reply.Payload {
			if !bytes.Equal(segment, tensor) {
				t.Errorf("%s came back otherwise", datatype)
			}
		}
		if len(reply.Payload) != 2 {
			t.Errorf("%s: %d segments", datatype, len(reply.Payload))
		}
		reply.Release()
		buffer.Release()
	}
}

func sumOf(bytes []byte) (sum uint64) {
	for _, each := range bytes {
		sum += uint64(each)
	}
	return sum
}

func (transport Transport) sum(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 65, 4097, 1 << 20, 5<<20 + 1} {
		sent := noise(size)
		reply := transport.call(t, enginev1.Operation_OPERATION_SUM, sent)
		if len(reply.Payload) != 1 || len(reply.Payload[0]) != 8 {
			t.Fatalf("the reply has %d segments", len(reply.Payload))
		}
		if sum := binary.LittleEndian.Uint64(reply.Payload[0]); sum != sumOf(sent) {
			t.Fatalf("%d bytes: %d instead of %d", size, sum, sumOf(sent))
		}
		reply.Release()
	}
}

func (transport Transport) reserved(t *testing.T) {
	buffer, err := transport.Engine.Reserve(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Release()
	if len(buffer.Bytes) != 1<<20 {
		t.Fatalf("%d bytes", len(buffer.Bytes))
	}
	copy(buffer.Bytes, noise(1<<20))
	// A part of a buffer is as good as the whole.
	for _, part := range [][]byte{buffer.Bytes, buffer.Bytes[77:], buffer.Bytes[1000:2000]} {
		reply := transport.call(t, enginev1.Operation_OPERATION_SUM, part)
		if sum := binary.LittleEndian.Uint64(reply.Payload[0]); sum != sumOf(part) {
			t.Fatalf("%d instead of %d", sum, sumOf(part))
		}
		if transport.InPlace && reply.BytesCopied != 0 {
			t.Fatalf("%d bytes were copied", reply.BytesCopied)
		}
		if !transport.InPlace && reply.BytesCopied == 0 {
			t.Fatal("the copy was not counted")
		}
		reply.Release()
	}
}

func (transport Transport) manySegments(t *testing.T) {
	for _, count := range []int{2, 11, 12, 13, 100, 1024} {
		sent := make([][]byte, count)
		for index := range sent {
			sent[index] = noise(index % 33)
		}
		reply := transport.call(t, enginev1.Operation_OPERATION_ECHO, sent...)
		if len(reply.Payload) != count {
			t.Fatalf("%d segments became %d", count, len(reply.Payload))
		}
		for index := range sent {
			if !bytes.Equal(reply.Payload[index], sent[index]) {
				t.Fatalf("segment %d of %d is another", index, count)
			}
		}
		reply.Release()
	}
}

func (transport Transport) parallel(t *testing.T) {
	const goroutines, rounds = 64, 100
	var group sync.WaitGroup
	for worker := range goroutines {
		group.Go(func() {
			for round := range rounds {
				sent := bytes.Repeat([]byte{byte(worker)}, 1+(worker*rounds+round)%5000)
				call := &engine.Call{Operation: enginev1.Operation_OPERATION_SUM, Payload: [][]byte{sent}}
				reply, err := transport.Engine.Call(t.Context(), call)
				if err != nil {
					t.Error(err)
					return
				}
				if sum := binary.LittleEndian.Uint64(reply.Payload[0]); sum != sumOf(sent) {
					t.Errorf("%d instead of %d", sum, sumOf(sent))
				}
				reply.Release()
			}
		})
	}
	group.Wait()
}

func (transport Transport) hello(t *testing.T) {
	reply := transport.call(t, enginev1.Operation_OPERATION_HELLO)
	defer reply.Release()
	if err := engine.Built.Check(reply.Header); err != nil {
		t.Fatal(err)
	}
}

func (transport Transport) calls(t *testing.T) uint64 {
	reply := transport.call(t, enginev1.Operation_OPERATION_STATS)
	defer reply.Release()
	var stats enginev1.EngineStats
	if err := proto.Unmarshal(reply.Header, &stats); err != nil {
		t.Fatal(err)
	}
	return stats.Calls
}

func (transport Transport) stats(t *testing.T) {
	before := transport.calls(t)
	for range 10 {
		transport.call(t, enginev1.Operation_OPERATION_ECHO).Release()
	}
	if after := transport.calls(t); after < before+10 {
		t.Fatalf("%d calls became %d", before, after)
	}
}

func refusal(t *testing.T, err error) *engine.Error {
	t.Helper()
	var failure *engine.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%v is no *engine.Error", err)
	}
	if failure.Message == "" || !strings.HasSuffix(failure.Message, ".") {
		t.Errorf("%q is no sentence", failure.Message)
	}
	return failure
}

func (transport Transport) malformed(t *testing.T) {
	infer, err := proto.Marshal(&v1.InferRequest{Model: "none", Inputs: []*v1.Tensor{{
		Name: "x", Datatype: "FP32", Shape: []int64{1 << 40, 1 << 40},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]*engine.Call{
		"no operation":            {},
		"an unknown operation":    {Operation: 999},
		"a header that is none":   {Operation: enginev1.Operation_OPERATION_INFER, Header: []byte{0xff, 0xff, 0xff}},
		"a huge shape":            {Operation: enginev1.Operation_OPERATION_INFER, Header: infer, Payload: [][]byte{{1}}},
		"a sum of nothing":        {Operation: enginev1.Operation_OPERATION_SUM},
		"a sum of two segments":   {Operation: enginev1.Operation_OPERATION_SUM, Payload: [][]byte{{1}, {2}}},
		"too many segments":       {Operation: enginev1.Operation_OPERATION_ECHO, Payload: make([][]byte, 1025)},
		"a header that is random": {Operation: enginev1.Operation_OPERATION_EMBED, Header: noise(100_000)},
	}
	for name, call := range calls {
		reply, err := transport.Engine.Call(t.Context(), call)
		if err == nil {
			reply.Release()
			t.Errorf("%s was accepted", name)
			continue
		}
		switch failure := refusal(t, err); failure.Status {
		case enginev1.Status_STATUS_INVALID_ARGUMENT, enginev1.Status_STATUS_MODEL_NOT_FOUND:
		default:
			t.Errorf("%s: %v: %s", name, failure.Status, failure.Message)
		}
	}
	transport.call(t, enginev1.Operation_OPERATION_ECHO, []byte("still there")).Release()
}

func (transport Transport) noModel(t *testing.T) {
	header, err := proto.Marshal(&v1.EmbedRequest{Model: "no-such-model", Texts: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = transport.Engine.Call(t.Context(), &engine.Call{Operation: enginev1.Operation_OPERATION_EMBED, Header: header})
	failure := refusal(t, err)
	if failure.Status != enginev1.Status_STATUS_MODEL_NOT_FOUND || !strings.Contains(failure.Message, "no-such-model") {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
}

func (transport Transport) noStream(t *testing.T) {
	header, err := proto.Marshal(&v1.GenerateRequest{Model: "no-such-model", Prompt: proto.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	call := &engine.Call{Operation: enginev1.Operation_OPERATION_GENERATE, Header: header}
	err = transport.Engine.Stream(t.Context(), call, func(*engine.Reply) error {
		t.Error("a reply came")
		return nil
	})
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_MODEL_NOT_FOUND {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
}

func (transport Transport) ended(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := transport.Engine.Call(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_CANCELLED {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = transport.Engine.Call(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_DEADLINE_EXCEEDED {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
}
