package jobs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// natsServer is a real nats-server on loopback, with the settings of infra/nats/nats.conf but for its ports.
type natsServer struct {
	t       testing.TB
	program string
	config  string
	store   string
	url     string
	monitor string
	process *exec.Cmd
}

// startNATS starts a server for one test, with more lines of configuration.
func startNATS(t testing.TB, more ...string) *natsServer {
	t.Helper()
	server := &natsServer{t: t, program: findProgram(t, "nats-server"), store: t.TempDir()}
	port, monitor := freePort(t), freePort(t)
	server.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	server.monitor = fmt.Sprintf("http://127.0.0.1:%d", monitor)
	shipped, err := filepath.Abs("../../../infra/nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	// Later settings count: the shipped file, then this test's ports.
	server.config = filepath.Join(t.TempDir(), "nats.conf")
	config := fmt.Sprintf("include %q\nport: %d\nhttp: \"127.0.0.1:%d\"\n%s", relative(t, server.config, shipped), port, monitor,
		strings.Join(more, "\n"))
	if err := os.WriteFile(server.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server.start()
	t.Cleanup(server.kill)
	return server
}

func relative(t testing.TB, from, to string) string {
	t.Helper()
	path, err := filepath.Rel(filepath.Dir(from), to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (server *natsServer) start() {
	server.t.Helper()
	server.process = exec.Command(server.program, "-c", server.config, "-sd", server.store)
	server.process.Stderr = io.Discard
	if err := server.process.Start(); err != nil {
		server.t.Fatal(err)
	}
	eventually(server.t, 10*time.Second, "nats-server answers", func() bool {
		response, err := http.Get(server.monitor + "/healthz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// kill ends the server as a power cut would: at once.
func (server *natsServer) kill() {
	_ = server.process.Process.Kill()
	_ = server.process.Wait()
}

// findProgram skips the test where the program is missing, except in CI, where everything must be there.
func findProgram(t testing.TB, name string) string {
	t.Helper()
	candidates := []string{name}
	if folder := os.Getenv("GOBIN"); folder != "" {
		candidates = append(candidates, filepath.Join(folder, name))
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, "go", "bin", name))
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: go install github.com/nats-io/nats-server/v2@latest", name)
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within %s: %s", limit, what)
}

// callerFunc runs embeddings; nothing else is asked of it.
type callerFunc func(ctx context.Context, text string) (*v1.EmbedResponse, error)

func (call callerFunc) Embed(ctx context.Context, request *v1.EmbedRequest) (*v1.EmbedResponse, error) {
	return call(ctx, request.GetTexts()[0])
}

func (callerFunc) Infer(context.Context, *v1.InferRequest) (*v1.InferResponse, error) {
	return nil, invalid("call", "not here")
}

// Generate writes "abc" in three pieces for each of two choices.
func (callerFunc) Generate(_ context.Context, _ *v1.GenerateRequest, send func(*v1.GenerateResponse) error) error {
	for _, text := range []string{"a", "b", "c"} {
		for choice := range uint32(2) {
			if err := send(&v1.GenerateResponse{Index: choice, Text: text, Ids: []uint32{uint32(text[0])}}); err != nil {
				return err
			}
		}
	}
	for choice := range uint32(2) {
		if err := send(&v1.GenerateResponse{Index: choice, FinishReason: v1.FinishReason_FINISH_REASON_STOP}); err != nil {
			return err
		}
	}
	return send(&v1.GenerateResponse{Usage: &v1.Usage{CompletionTokens: 6}})
}

// answering embeds a text as itself.
func answering(_ context.Context, text string) (*v1.EmbedResponse, error) {
	return &v1.EmbedResponse{Vectors: []byte(text)}, nil
}

const testModel = "all-minilm-l6-v2"

func embedJob(key, text, reply string) *v1.SubmitJobRequest {
	return &v1.SubmitJobRequest{
		IdempotencyKey: key,
		ReplySubject:   reply,
		Call:           &v1.SubmitJobRequest_Embed{Embed: &v1.EmbedRequest{Model: testModel, Texts: []string{text}}},
	}
}

// quick are options with which what takes minutes takes a second.
func quick(url string) Options {
	return Options{
		URL:        url,
		Node:       "test",
		AckWait:    time.Second,
		RetryDelay: 50 * time.Millisecond,
		fetchWait:  200 * time.Millisecond,
		Models:     func(context.Context) []string { return []string{testModel} },
		Logger:     slog.New(slog.DiscardHandler),
	}
}

func openQueue(t testing.TB, options Options) *Queue {
	t.Helper()
	queue, err := Open(testContext(t, 20*time.Second), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = queue.Close(ctx)
	})
	return queue
}

func testContext(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func submit(t testing.TB, queue *Queue, request *v1.SubmitJobRequest) *v1.Job {
	t.Helper()
	job, err := queue.Submit(testContext(t, 20*time.Second), request)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// awaitEnd gives the job once it has ended.
func awaitEnd(t testing.TB, queue *Queue, id string) *v1.Job {
	t.Helper()
	var last *v1.Job
	err := queue.Watch(testContext(t, 30*time.Second), id, func(job *v1.Job) error {
		last = job
		return nil
	})
	if err != nil {
		t.Fatalf("%s is %v after: %v", id, last.GetState(), err)
	}
	return last
}
