package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/shm"
	"treeline.dev/pool/engine/shm/shmtest"
	"treeline.dev/pool/gen/inference"
	"treeline.dev/pool/gen/inference/inferenceconnect"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/models"
	"treeline.dev/pool/openinference"
	"treeline.dev/pool/rust"
)

// counting is a codec whose every second buffer is refused, and how many are out.
func counting() (*tensorCodec, *atomic.Int64) {
	var out, asked atomic.Int64
	return &tensorCodec{reserve: func(_ string, size int) *engine.Buffer {
		if asked.Add(1)%2 == 0 {
			return nil
		}
		out.Add(1)
		return engine.NewBuffer(make([]byte, size), func() { out.Add(-1) })
	}}, &out
}

func randomBytes(random *rand.Rand) []byte {
	data := make([]byte, random.IntN(40))
	for index := range data {
		data[index] = byte(random.Uint32())
	}
	return data
}

// randomRequests are a message of each type that the codec reads in a way of its own.
func randomRequests(random *rand.Rand) (*inference.ModelInferRequest, *v1.InferRequest) {
	raw := &inference.ModelInferRequest{ModelName: "identity", Id: "7"}
	named := &v1.InferRequest{Model: "identity", Outputs: []string{"y"}}
	for range random.IntN(5) {
		raw.Inputs = append(raw.Inputs, &inference.ModelInferRequest_InferInputTensor{Name: "x", Shape: []int64{3}})
		raw.RawInputContents = append(raw.RawInputContents, randomBytes(random))
		named.Inputs = append(named.Inputs, &v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{3}, Data: randomBytes(random)})
	}
	return raw, named
}

// TestTheCodecReadsWhatProtobufReads compares with protobuf's own reader, on messages and on what becomes of them when
// bytes change.
func TestTheCodecReadsWhatProtobufReads(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	codec, out := counting()
	for range 5000 {
		raw, named := randomRequests(random)
		for _, message := range []proto.Message{raw, named, &v1.GenerateRequest{Model: "m"}} {
			encoded, err := codec.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			if random.IntN(2) == 0 && len(encoded) > 0 {
				encoded[random.IntN(len(encoded))] = byte(random.Uint32())
			}
			got, want := message.ProtoReflect().New().Interface(), message.ProtoReflect().New().Interface()
			gotErr, wantErr := codec.Unmarshal(encoded, got), proto.Unmarshal(encoded, want)
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%x: %v instead of %v", encoded, gotErr, wantErr)
			}
			if gotErr == nil && !proto.Equal(got, want) {
				t.Fatalf("%x: %v instead of %v", encoded, got, want)
			}
			codec.release(got)
		}
	}
	if left := out.Load(); left != 0 {
		t.Errorf("%d buffers are out", left)
	}
}

func TestAMessageThatNobodyReleasesGivesItsMemoryBackAllTheSame(t *testing.T) {
	codec, out := counting()
	func() {
		encoded, err := proto.Marshal(&v1.InferRequest{Inputs: []*v1.Tensor{{Data: []byte("abc")}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.Unmarshal(encoded, &v1.InferRequest{}); err != nil || out.Load() != 1 {
			t.Fatal(err, out.Load())
		}
	}()
	for range 1000 {
		if runtime.GC(); out.Load() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the buffer is still out")
}

// serveReal is all services over a real engine by shared memory.
func serveReal(t *testing.T) (url string, engine *shm.Engine, provider *rust.Provider) {
	t.Helper()
	engine = shmtest.Open(t, shm.Options{})
	provider = rust.New(rust.Name, engine, rust.NewStatistics(engine))
	catalogue, err := models.NewCatalogue(models.Options{Providers: []models.Provider{provider}})
	if err != nil {
		t.Fatal(err)
	}
	catalogue.Refresh(t.Context())
	bounds := door.Bounds{BodyBytesMax: door.BodyBytesMaxDefault}
	oip := &openinference.Door{Models: catalogue, Bounds: bounds, Now: time.Now, Ready: func() bool { return true }}
	services := Services{
		Models: catalogue, OpenInference: &openinference.Service{Door: oip}, Ready: oip.Ready, Bounds: bounds,
		Log: slog.New(slog.DiscardHandler),
	}
	mux := http.NewServeMux()
	services.Mount(mux)
	server := httptest.NewUnstartedServer(door.WithLease(mux))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, engine, provider
}

func h2c(t *testing.T) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func rawRequest(data []byte) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: enginetest.IdentityModel, RawInputContents: [][]byte{data},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: "x", Datatype: "UINT8", Shape: []int64{int64(len(data))}},
		},
	}
}

func namedRequest(data []byte) *v1.InferRequest {
	return &v1.InferRequest{Model: enginetest.IdentityModel, Inputs: []*v1.Tensor{
		{Name: "x", Datatype: "UINT8", Shape: []int64{int64(len(data))}, Data: data},
	}}
}

func TestTensorsByGRPCLieInTheEnginesMemoryBothWaysAndNoneIsLost(t *testing.T) {
	url, engine, provider := serveReal(t)
	before := engine.RequestBytesTaken()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	triton := inferenceconnect.NewGRPCInferenceServiceClient(h2c(t), url, connect.WithGRPC())
	for range 3 {
		answer, err := triton.ModelInfer(t.Context(), connect.NewRequest(rawRequest(data)))
		if err != nil || !bytes.Equal(answer.Msg.GetRawOutputContents()[0], data) {
			t.Fatal("the tensor came back otherwise: ", err)
		}
	}
	own := treelinev1connect.NewInferenceServiceClient(http.DefaultClient, url)
	answer, err := own.Infer(t.Context(), connect.NewRequest(namedRequest(data)))
	if err != nil || !bytes.Equal(answer.Msg.GetOutputs()[0].GetData(), data) {
		t.Fatal("the tensor came back otherwise: ", err)
	}
	stream := triton.ModelStreamInfer(t.Context())
	for range 3 {
		if err := stream.Send(rawRequest(data)); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Receive()
		if err != nil || !bytes.Equal(answer.GetInferResponse().GetRawOutputContents()[0], data) {
			t.Fatal("the tensor came back otherwise: ", err)
		}
	}
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if copied := provider.BytesCopied(); copied != 0 {
		t.Errorf("%d bytes were copied", copied)
	}
	awaitTaken(t, engine, before)
}

func TestCallsByGRPCThatEndTooEarlyLoseNoMemory(t *testing.T) {
	url, engine, _ := serveReal(t)
	before := engine.RequestBytesTaken()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	triton := inferenceconnect.NewGRPCInferenceServiceClient(h2c(t), url, connect.WithGRPC())
	const callers, callsEach = 10, 200
	var group sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		group.Go(func() {
			for range callsEach {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(5000))*time.Microsecond)
				request := rawRequest(make([]byte, 64<<10))
				if random.IntN(4) == 0 {
					request.Inputs[0].Shape[0]++ // What does not fit is refused.
				}
				_, _ = triton.ModelInfer(ctx, connect.NewRequest(request))
				cancel()
			}
		})
	}
	group.Wait()
	awaitTaken(t, engine, before)
}

// awaitTaken waits until as much of the arena is in use as before.
func awaitTaken(t *testing.T, engine *shm.Engine, before uint64) {
	t.Helper()
	for range 2000 {
		// Messages that no handler saw are given back when they are collected.
		if runtime.GC(); engine.RequestBytesTaken() == before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d bytes of the arena became %d", before, engine.RequestBytesTaken())
}
