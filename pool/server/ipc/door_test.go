package ipc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine/shm"
	"treeline.dev/pool/engine/shm/shmtest"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/rust"
)

const bodyBytesMax = 1 << 20

// serve is a door to a real engine by shared memory.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	engine := shmtest.Open(t, shm.Options{})
	ipc := New(engine, rust.NewStatistics(engine), door.Bounds{BodyBytesMax: bodyBytesMax})
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/ipc/call", ipc)
	mux.Handle(treelinev1connect.NewIpcServiceHandler(ipc))
	server := httptest.NewServer(door.WithLease(mux))
	t.Cleanup(server.Close)
	return server
}

func post(t *testing.T, server *httptest.Server, path, kind, body string) (int, http.Header, []byte) {
	t.Helper()
	response, err := http.Post(server.URL+path, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, read
}

func TestEachOperationTellsItsAnswerAndItsCost(t *testing.T) {
	server := serve(t)
	for body, want := range map[string]map[string]any{
		`{"operation":"echo","data":"Grüße"}`:           {"operation": "echo", "data": "Grüße", "bytes_copied": 0.0},
		`{"operation":"echo","data":{"base64":"/w=="}}`: {"data": map[string]any{"base64": "/w=="}, "bytes_copied": 0.0},
		`{"operation":"echo","data":""}`:                {"data": "", "bytes_copied": 0.0},
		`{"operation":"sum","data":"abc"}`:              {"operation": "sum", "result": 294.0, "bytes_copied": 0.0},
		`{"operation":"stats"}`:                         {"operation": "stats"},
	} {
		status, _, read := post(t, server, "/api/v1/ipc/call", "application/json", body)
		var got map[string]any
		if err := json.Unmarshal(read, &got); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, status, read)
		}
		want["transport"] = "shm"
		for name, value := range want {
			if encode(got[name]) != encode(value) {
				t.Errorf("%s: %s is %v, not %v", body, name, got[name], value)
			}
		}
		if elapsed, _ := got["elapsed_ns"].(float64); elapsed <= 0 {
			t.Errorf("%s: it took %v ns", body, got["elapsed_ns"])
		}
	}
}

func encode(value any) string {
	encoded, _ := json.Marshal(value)
	return string(encoded)
}

func TestBytesGoStraightIntoMemoryThatTheEngineReads(t *testing.T) {
	server := serve(t)
	body := strings.Repeat("\xff", 100_000)
	status, header, read := post(t, server, "/api/v1/ipc/call?operation=echo", "application/octet-stream", body)
	if status != http.StatusOK || string(read) != body {
		t.Fatalf("%d, %d bytes", status, len(read))
	}
	if copied := header.Get("Treeline-Bytes-Copied"); copied != "0" {
		t.Fatalf("%s bytes were copied", copied)
	}
	_, _, read = post(t, server, "/api/v1/ipc/call?operation=sum", "application/octet-stream", body)
	if !bytes.Contains(read, []byte(`"result":25500000`)) || !bytes.Contains(read, []byte(`"bytes_copied":0`)) {
		t.Fatalf("%s", read)
	}
}

func TestAMalformedCallIsRefusedWithASentence(t *testing.T) {
	server := serve(t)
	const path, json_, octets = "/api/v1/ipc/call", "application/json", "application/octet-stream"
	for _, refused := range []struct {
		path, kind, body string
		status           int
	}{
		{path, json_, `{`, http.StatusBadRequest},
		{path, json_, `{"operation":"divide"}`, http.StatusBadRequest},
		{path, json_, `{"operation":"echo","data":7}`, http.StatusBadRequest},
		{path, json_, `{"operation":"echo","data":{"base64":"!"}}`, http.StatusBadRequest},
		{path, json_, `{"operation":"embed","data":"a"}`, http.StatusBadRequest},
		{path, json_, `{"operation":"embed","data":{"base64":"/w=="},"model":"m"}`, http.StatusBadRequest},
		{path, json_, `{"operation":"embed","data":"a","model":"no-such-model"}`, http.StatusNotFound},
		{path, json_, `"` + strings.Repeat("a", bodyBytesMax) + `"`, http.StatusRequestEntityTooLarge},
		{path, octets, "a", http.StatusBadRequest},
		{path + "?operation=echo", octets, strings.Repeat("a", bodyBytesMax+1), http.StatusRequestEntityTooLarge},
	} {
		status, _, read := post(t, server, refused.path, refused.kind, refused.body)
		var problem struct{ Detail string }
		if json.Unmarshal(read, &problem) != nil || status != refused.status || problem.Detail == "" {
			t.Errorf("%.60s: %d %s", refused.body, status, read)
		}
	}
}

func TestTheServiceAnswersByRPC(t *testing.T) {
	server := serve(t)
	client := treelinev1connect.NewIpcServiceClient(http.DefaultClient, server.URL)
	request := connect.NewRequest(&v1.IpcCallRequest{Operation: "sum", Data: []byte{1, 2, 3}})
	response, err := client.Call(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if sum := binary.LittleEndian.Uint64(response.Msg.GetData()); sum != 6 || response.Msg.GetTransport() != "shm" {
		t.Fatalf("%d by %s", sum, response.Msg.GetTransport())
	}
	_, err = client.Call(t.Context(), connect.NewRequest(&v1.IpcCallRequest{Operation: "divide"}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Fatal(err)
	}
}
