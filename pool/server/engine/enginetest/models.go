package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	// IdentityModel answers with its inputs, and generates its prompt, over and over.
	IdentityModel = "identity"
	// SlowModel is the same, but generates about 2000 characters a second.
	SlowModel = "identity-slow"
)

// manifests are the models of Settings.
var manifests = map[string]string{
	IdentityModel: `{"backend": "identity"}`,
	SlowModel:     `{"backend": "identity", "settings": {"pieces_per_second": 2000}}`,
}

// Settings are those of an engine with IdentityModel and SlowModel.
func Settings(t testing.TB) engine.Settings {
	t.Helper()
	repository := t.TempDir()
	for name, manifest := range manifests {
		folder := filepath.Join(repository, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "model.json"), []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return engine.Settings{Repository: repository, Threads: 1}
}

// Infer is a call of IdentityModel with these tensors, whose data is the payload.
func Infer(t testing.TB, tensors []*v1.Tensor, payload [][]byte) *engine.Call {
	t.Helper()
	header, err := proto.Marshal(&v1.InferRequest{Model: IdentityModel, Inputs: tensors})
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Call{Operation: enginev1.Operation_OPERATION_INFER, Header: header, Payload: payload}
}

// Generate is a call of a model that generates the prompt's characters, so many of them.
func Generate(t testing.TB, model, prompt string, characters uint32) *engine.Call {
	t.Helper()
	request := &v1.GenerateRequest{Model: model, Prompt: &prompt, MaxTokens: &characters}
	header, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Call{Operation: enginev1.Operation_OPERATION_GENERATE, Header: header}
}

// inferDatatypes sends a tensor of each datatype through a model and looks at what comes back.
func (transport Transport) inferDatatypes(t *testing.T) {
	const elements = 1001
	for datatype, size := range datatypeBytes {
		data := elementsOf(datatype, size, elements)
		buffer, err := transport.Engine.Reserve(len(data))
		if err != nil {
			t.Fatal(err)
		}
		copy(buffer.Bytes, data)
		tensor := &v1.Tensor{Name: "x", Datatype: datatype, Shape: []int64{7, 143}}
		reply, err := transport.Engine.Call(t.Context(), Infer(t, []*v1.Tensor{tensor}, [][]byte{buffer.Bytes}))
		if err != nil {
			t.Fatalf("%s: %v", datatype, err)
		}
		var response v1.InferResponse
		if err := proto.Unmarshal(reply.Header, &response); err != nil || len(response.Outputs) != 1 {
			t.Fatalf("%s: %v, %d outputs", datatype, err, len(response.Outputs))
		}
		output := response.Outputs[0]
		if output.Datatype != datatype || len(output.Shape) != 2 || output.Shape[1] != 143 {
			t.Errorf("%s came back as %s%v", datatype, output.Datatype, output.Shape)
		}
		if len(reply.Payload) != 1 || !bytes.Equal(reply.Payload[0], data) {
			t.Errorf("%s came back otherwise", datatype)
		}
		if transport.InPlace && reply.BytesCopied != 0 {
			t.Errorf("%s: %d bytes were copied", datatype, reply.BytesCopied)
		}
		reply.Release()
		buffer.Release()
	}
}

func elementsOf(datatype string, size, count int) []byte {
	data := noise(count * size)
	switch datatype {
	case "BYTES":
		for index := range count {
			data = binary.LittleEndian.AppendUint32(data, uint32(index%5))
			data = append(data, noise(index%5)...)
		}
	case "BOOL":
		for index := range data {
			data[index] &= 1
		}
	}
	return data
}

// malformedTensors are refused each by its own fault, none by a crash.
func (transport Transport) malformedTensors(t *testing.T) {
	four := make([]byte, 4)
	for name, refused := range map[string]struct {
		tensor  *v1.Tensor
		payload [][]byte
	}{
		"an unknown datatype":       {&v1.Tensor{Name: "x", Datatype: "FP8", Shape: []int64{1}}, [][]byte{four}},
		"too little data":           {&v1.Tensor{Name: "x", Datatype: "FP32", Shape: []int64{2}}, [][]byte{four}},
		"too much data":             {&v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{3}}, [][]byte{four}},
		"a length below zero":       {&v1.Tensor{Name: "x", Datatype: "FP32", Shape: []int64{-1}}, [][]byte{four}},
		"a product beyond 64 bits":  {&v1.Tensor{Name: "x", Datatype: "FP32", Shape: []int64{1 << 62, 1 << 62}}, [][]byte{four}},
		"bytes beyond 64 bits":      {&v1.Tensor{Name: "x", Datatype: "FP64", Shape: []int64{1 << 61}}, [][]byte{four}},
		"too many dimensions":       {&v1.Tensor{Name: "x", Datatype: "UINT8", Shape: ones(17)}, [][]byte{{1}}},
		"a string beyond its data":  {&v1.Tensor{Name: "x", Datatype: "BYTES", Shape: []int64{1}}, [][]byte{{255, 255, 255, 255}}},
		"a string's length cut off": {&v1.Tensor{Name: "x", Datatype: "BYTES", Shape: []int64{1}}, [][]byte{{1, 0}}},
		"no segment":                {&v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{4}}, nil},
		"two segments":              {&v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{4}}, [][]byte{four, four}},
	} {
		reply, err := transport.Engine.Call(t.Context(), Infer(t, []*v1.Tensor{refused.tensor}, refused.payload))
		if err == nil {
			reply.Release()
			t.Errorf("%s was accepted", name)
			continue
		}
		if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_INVALID_ARGUMENT {
			t.Errorf("%s: %v: %s", name, failure.Status, failure.Message)
		}
	}
}

func ones(count int) []int64 {
	shape := make([]int64, count)
	for index := range shape {
		shape[index] = 1
	}
	return shape
}

// hugeTensor goes through a model whole, and one beyond the bound is refused.
func (transport Transport) hugeTensor(t *testing.T) {
	const size = 100 << 20
	buffer, err := transport.Engine.Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Release()
	copy(buffer.Bytes[size-8:], "the end.")
	tensor := &v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{size}}
	reply, err := transport.Engine.Call(t.Context(), Infer(t, []*v1.Tensor{tensor}, [][]byte{buffer.Bytes}))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Release()
	if len(reply.Payload[0]) != size || string(reply.Payload[0][size-8:]) != "the end." {
		t.Fatalf("%d bytes came back otherwise", len(reply.Payload[0]))
	}
	if _, err := transport.Engine.Reserve(engine.PayloadBytesMax + 1); err == nil {
		t.Fatal("a buffer beyond the bound")
	}
	beyond := &engine.Call{
		Operation: enginev1.Operation_OPERATION_ECHO,
		Payload:   [][]byte{buffer.Bytes, buffer.Bytes, buffer.Bytes},
	}
	_, err = transport.Engine.Call(t.Context(), beyond)
	if transport.AllInPlace && err == nil {
		return // ECHO by pointer carries what it likes.
	}
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_INVALID_ARGUMENT {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
}

// read generates and puts the pieces together.
func (transport Transport) read(ctx context.Context, call *engine.Call) (string, *v1.Usage, error) {
	var text strings.Builder
	var usage *v1.Usage
	err := transport.Engine.Stream(ctx, call, func(reply *engine.Reply) error {
		var piece v1.GenerateResponse
		if err := proto.Unmarshal(reply.Header, &piece); err != nil {
			return err
		}
		text.WriteString(piece.Text)
		if piece.Usage != nil {
			usage = piece.Usage
		}
		return nil
	})
	return text.String(), usage, err
}

func (transport Transport) stream(t *testing.T) {
	for _, characters := range []uint32{0, 1, 5, 5000} {
		text, usage, err := transport.read(t.Context(), Generate(t, IdentityModel, "añz–🙂", characters))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("añz–🙂", int(characters)/5) + string([]rune("añz–🙂")[:characters%5])
		if text != want {
			t.Fatalf("%d characters came otherwise: %.40q", characters, text)
		}
		if characters > 0 && usage.GetCompletionTokens() != characters {
			t.Fatalf("the usage is %v", usage)
		}
	}
}

func (transport Transport) manyStreams(t *testing.T) {
	const streams = 200
	var group sync.WaitGroup
	for index := range streams {
		group.Go(func() {
			prompt := fmt.Sprintf("<%d>", index)
			text, _, err := transport.read(t.Context(), Generate(t, IdentityModel, prompt, uint32(len(prompt)*50)))
			if err != nil || text != strings.Repeat(prompt, 50) {
				t.Errorf("stream %d: %v, %.40q", index, err, text)
			}
		})
	}
	group.Wait()
}

var errReceiver = errors.New("enginetest: enough")

// endStreams ends streams from this side, each in a way of its own; the engine stops to work on them.
func (transport Transport) endStreams(t *testing.T) {
	endless := Generate(t, SlowModel, "x", 10_000_000)
	err := transport.Engine.Stream(t.Context(), endless, func(*engine.Reply) error { return errReceiver })
	if !errors.Is(err, errReceiver) {
		t.Fatalf("the receiver's error became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = transport.Engine.Stream(ctx, endless, func(*engine.Reply) error {
		cancel()
		return nil
	})
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_CANCELLED {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = transport.Engine.Stream(ctx, endless, func(*engine.Reply) error { return nil })
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_DEADLINE_EXCEEDED {
		t.Fatalf("%v: %s", failure.Status, failure.Message)
	}
	transport.awaitIdle(t)
}

// awaitIdle fails where the engine still works on something after a while.
func (transport Transport) awaitIdle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		reply := transport.call(t, enginev1.Operation_OPERATION_STATS)
		var stats enginev1.EngineStats
		err := proto.Unmarshal(reply.Header, &stats)
		reply.Release()
		switch {
		case err != nil:
			t.Fatal(err)
		case stats.Running == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d calls still run", stats.Running)
		}
	}
}

// slowReader is slower than its stream; it gets all that was sent, or is told that it was too slow. It pauses seldom but
// long: a pause at each piece would measure how late a busy machine wakes a sleeper, 200,000 times.
func (transport Transport) slowReader(t *testing.T) {
	const firstPause, laterPause, piecesBetween = 300 * time.Millisecond, time.Millisecond, 1000
	count := 0
	err := transport.Engine.Stream(t.Context(), Generate(t, IdentityModel, "x", 200_000), func(*engine.Reply) error {
		switch count++; {
		case count == 1:
			time.Sleep(firstPause)
		case count%piecesBetween == 0:
			time.Sleep(laterPause)
		}
		return nil
	})
	if err == nil && count == 200_000 {
		return
	}
	if failure := refusal(t, err); failure.Status != enginev1.Status_STATUS_CANCELLED {
		t.Fatalf("after %d: %v: %s", count, failure.Status, failure.Message)
	}
	transport.awaitIdle(t)
}
