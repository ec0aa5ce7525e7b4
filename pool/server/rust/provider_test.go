package rust

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/shm"
	"treeline.dev/pool/engine/shm/shmtest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// open is a provider over a real engine by shared memory.
func open(t *testing.T) *Provider {
	t.Helper()
	opened := shmtest.Open(t, shm.Options{})
	return New(Name, opened, NewStatistics(opened))
}

func inferRequest(data []byte) *v1.InferRequest {
	return &v1.InferRequest{Model: enginetest.IdentityModel, Id: "7", Inputs: []*v1.Tensor{{
		Name: "x", Datatype: "UINT8", Shape: []int64{int64(len(data))}, Data: data,
	}}}
}

func TestATensorUnderALeaseIsNotCopiedAndWithoutOneItIsAndBothAreCounted(t *testing.T) {
	provider := open(t)
	buffer, err := provider.Reserve(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Release()
	copy(buffer.Bytes, bytes.Repeat([]byte("0123456789"), 100))
	request := inferRequest(buffer.Bytes)

	ctx, lease := engine.WithLease(t.Context())
	response, err := provider.Infer(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if response.Id != "7" || !bytes.Equal(response.Outputs[0].Data, buffer.Bytes) {
		t.Fatalf("the output is another: %v", response.Id)
	}
	if copied := provider.BytesCopied(); copied != 0 {
		t.Fatalf("%d bytes were copied", copied)
	}
	lease.Release()
	if !bytes.Equal(request.Inputs[0].Data, buffer.Bytes) {
		t.Fatal("the caller's request was changed")
	}

	response, err = provider.Infer(t.Context(), request)
	if err != nil || !bytes.Equal(response.Outputs[0].Data, buffer.Bytes) {
		t.Fatalf("the output is another: %v", err)
	}
	if copied := provider.BytesCopied(); copied != 1000 {
		t.Fatalf("%d bytes were copied", copied)
	}
}

func TestTextComesPieceByPieceAndAnErrorOfTheReaderComesBack(t *testing.T) {
	provider := open(t)
	request := &v1.GenerateRequest{
		Model: enginetest.IdentityModel, Prompt: proto.String("abc"), MaxTokens: proto.Uint32(7),
	}
	var text strings.Builder
	err := provider.Generate(t.Context(), request, func(piece *v1.GenerateResponse) error {
		text.WriteString(piece.Text)
		return nil
	})
	if err != nil || text.String() != "abcabca" {
		t.Fatalf("%q, %v", text.String(), err)
	}
	enough := errors.New("enough")
	err = provider.Generate(t.Context(), request, func(*v1.GenerateResponse) error { return enough })
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

func TestModelsAreListedLoadedAndUnloaded(t *testing.T) {
	provider := open(t)
	loaded, err := provider.Load(t.Context(), &v1.LoadModelRequest{Model: enginetest.IdentityModel})
	if err != nil || loaded.State != v1.ModelState_MODEL_STATE_READY || loaded.Provider != Name {
		t.Fatalf("%v, %v", loaded, err)
	}
	states := map[string]v1.ModelState{}
	list, err := provider.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range list {
		states[model.Name] = model.State
	}
	if len(states) != 2 || states[enginetest.IdentityModel] != v1.ModelState_MODEL_STATE_READY {
		t.Fatal(states)
	}
	if err := provider.Unload(t.Context(), &v1.UnloadModelRequest{Model: enginetest.IdentityModel}); err != nil {
		t.Fatal(err)
	}
	_, err = provider.Load(t.Context(), &v1.LoadModelRequest{Model: "no-such-model"})
	var refusal *engine.Error
	if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_MODEL_NOT_FOUND {
		t.Fatal(err)
	}
}

func TestSpansGoToTakeAloneWhoeverAsksInBetween(t *testing.T) {
	provider := open(t)
	traced := engine.Call{
		Operation: enginev1.Operation_OPERATION_INFER, Payload: [][]byte{{1}},
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	call := enginetest.Infer(t, []*v1.Tensor{{Name: "x", Datatype: "UINT8", Shape: []int64{1}}}, traced.Payload)
	traced.Header = call.Header
	reply, err := provider.engine.Call(t.Context(), &traced)
	if err != nil {
		t.Fatal(err)
	}
	reply.Release()
	if _, err := provider.NodeLoad(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats, err := provider.statistics.Take(t.Context())
	if err != nil || len(stats.Spans) == 0 {
		t.Fatalf("%d spans, %v", len(stats.GetSpans()), err)
	}
	for _, span := range stats.Spans {
		if span.TraceId[0] != 0x4b {
			t.Errorf("a span of the trace %x", span.TraceId)
		}
	}
	if stats, err = provider.statistics.Take(t.Context()); err != nil || len(stats.Spans) != 0 {
		t.Fatalf("%d spans came twice, %v", len(stats.GetSpans()), err)
	}
}
