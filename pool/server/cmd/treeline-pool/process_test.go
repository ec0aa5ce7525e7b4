package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram makes this test binary be the program, so that signals and exit statuses are tested on a real process.
const asProgram = "TREELINE_POOL_TEST_AS_PROGRAM"

func TestMain(main *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(main.Run())
}

// programCommand is the program with these arguments.
func programCommand(arguments ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), asProgram+"=1")
	return command
}

// process is a running program.
type process struct {
	command *exec.Cmd
	url     string
	mutex   sync.Mutex
	log     bytes.Buffer
	ended   chan error
}

// startProcess waits until the program says that it is ready.
func startProcess(t *testing.T, arguments ...string) *process {
	t.Helper()
	started := &process{
		command: programCommand(append([]string{"--listen", "127.0.0.1:0", "--engine", "none"}, arguments...)...),
		ended:   make(chan error, 1),
	}
	output, err := started.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := started.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.command.Process.Kill() })
	ready := make(chan string, 1)
	go started.read(output, ready)
	select {
	case started.url = <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not become ready:", started.text())
	}
	return started
}

func (process *process) read(output io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		process.mutex.Lock()
		process.log.WriteString(lines.Text() + "\n")
		process.mutex.Unlock()
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "the node is ready" {
			ready <- line.Address
		}
	}
	process.ended <- process.command.Wait()
}

func (process *process) text() string {
	process.mutex.Lock()
	defer process.mutex.Unlock()
	return process.log.String()
}

// exitStatus waits for the end.
func (process *process) exitStatus(t *testing.T) int {
	t.Helper()
	select {
	case <-process.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end:", process.text())
	}
	return process.command.ProcessState.ExitCode()
}

// slowEngine is a server of OpenAI's API that streams one word after each value of `next`, three in all.
func slowEngine(t *testing.T, next <-chan struct{}) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(writer http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(writer, "{}") })
	mux.HandleFunc("GET /metrics", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/models", func(writer http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(writer, `{"data":[{"id":"slow"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(writer http.ResponseWriter, request *http.Request) {
		// Only once the body has been read does net/http tell that the client has gone.
		_, _ = io.Copy(io.Discard, request.Body)
		writer.Header().Set("Content-Type", "text/event-stream")
		for word := range 3 {
			select {
			case <-next:
			case <-request.Context().Done():
				return
			}
			_, _ = fmt.Fprintf(writer, `data: {"choices":[{"index":0,"delta":{"content":"word%d "}}]}`+"\n\n", word)
			writer.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(writer, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	configuration := fmt.Sprintf(`{"upstreams":[{"name":"vllm-1","kind":"vllm","url":%q}]}`, server.URL)
	path := filepath.Join(t.TempDir(), "upstreams.json")
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	askedChat = `"model":"slow","messages":[{"role":"user","content":"go"}]}`
	wholeChat = `{` + askedChat
	slowChat  = `{"stream":true,` + askedChat
)

// openStream begins a generation and reads its first event.
func openStream(t *testing.T, url string) (*http.Response, *bufio.Reader) {
	t.Helper()
	answer, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(slowChat))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	reader := bufio.NewReader(answer.Body)
	if line, err := reader.ReadString('\n'); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, line, err)
	}
	return answer, reader
}

func TestSIGTERMFinishesWhatRunsAndRefusesWhatIsNew(t *testing.T) {
	next := make(chan struct{}, 3)
	pool := startProcess(t, "--config", slowEngine(t, next))
	next <- struct{}{}
	_, reader := openStream(t, pool.url)
	if err := pool.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The signal takes a moment to arrive; a call before that would be taken, and wait for words of its own.
	waitForDrain(t, pool)
	if status, _, answer := fetch(t, http.MethodPost, pool.url+"/v1/chat/completions", wholeChat, nil); status != http.StatusServiceUnavailable {
		t.Error("a new call got", status, answer)
	}
	next <- struct{}{}
	next <- struct{}{}
	rest, err := io.ReadAll(reader)
	if err != nil || !strings.Contains(string(rest), "word2") || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%q %v", rest, err)
	}
	if status := pool.exitStatus(t); status != exitWell {
		t.Error(status, pool.text())
	}
	if log := pool.text(); !strings.Contains(log, `"msg":"drained"`) || !strings.Contains(log, `"msg":"the node has ended"`) {
		t.Error(log)
	}
}

// waitForDrain waits until the node says that it is not ready any more.
func waitForDrain(t *testing.T, pool *process) {
	t.Helper()
	for range 1000 {
		if status, _, _ := fetch(t, http.MethodGet, pool.url+"/readyz", "", nil); status == http.StatusServiceUnavailable {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not drain:", pool.text())
}

func TestADrainThatTakesTooLongCutsCallsOff(t *testing.T) {
	next := make(chan struct{}, 1)
	next <- struct{}{}
	pool := startProcess(t, "--config", slowEngine(t, next), "--drain-timeout", "100ms")
	openStream(t, pool.url)
	if err := pool.command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := pool.exitStatus(t); status != exitWell || !strings.Contains(pool.text(), "calls are cut off") {
		t.Error(status, pool.text())
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	next := make(chan struct{}, 1)
	next <- struct{}{}
	pool := startProcess(t, "--config", slowEngine(t, next), "--drain-timeout", "10m")
	openStream(t, pool.url)
	if err := pool.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitForDrain(t, pool)
	if err := pool.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := pool.exitStatus(t); status != exitAtOnce {
		t.Error(status, pool.text())
	}
}

// children are the processes that a process has started.
func children(t *testing.T, parent int) (found []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended meanwhile.
		}
		// The second field is the program's name in brackets, which may hold blanks.
		_, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var of int
		if _, err := fmt.Sscan(rest, &state, &of); err == nil && of == parent {
			number, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, number)
		}
	}
	return found
}

func TestHoweverTheNodeEndsTheProcessesThatItStartedEndToo(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		pool := startEngineNode(t, "--workers", "2")
		workers := children(t, pool.command.Process.Pid)
		if len(workers) != 2 {
			t.Fatalf("%d workers", len(workers))
		}
		if err := pool.command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if status := pool.exitStatus(t); signal != syscall.SIGKILL && status != exitWell {
			t.Errorf("%v: %d %s", signal, status, pool.text())
		}
		for _, worker := range workers {
			awaitGone(t, worker)
		}
	}
}

// awaitGone waits until a process has ended.
func awaitGone(t *testing.T, process int) {
	t.Helper()
	for range 1000 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
		// What nobody has waited for yet is ended all the same.
		if err != nil || strings.Contains(string(text), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("the process %d goes on", process)
}

func TestANodeThatStillWaitsForItsQueueEndsWhenTold(t *testing.T) {
	waiting := &process{
		command: programCommand("--listen", "127.0.0.1:0", "--engine", "none", "--nats", "nats://127.0.0.1:1"),
		ended:   make(chan error, 1),
	}
	output, err := waiting.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := waiting.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = waiting.command.Process.Kill() })
	go waiting.read(output, make(chan string, 1))
	for range 1000 {
		// Said right before NATS is waited for; signals are watched for long by then.
		if strings.Contains(waiting.text(), "--nats-monitor asks") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := waiting.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := waiting.exitStatus(t); status != exitWell || !strings.Contains(waiting.text(), "before it had begun") {
		t.Error(status, waiting.text())
	}
}

// monitorOf answers as NATS' monitoring does.
func monitorOf(t *testing.T, facts string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/varz" {
			http.NotFound(writer, request)
			return
		}
		_, _ = io.WriteString(writer, facts)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestANodeDoesNotStartWithAQueueThatMayLoseWhatItHasAccepted(t *testing.T) {
	careless := monitorOf(t, `{"jetstream":{"config":{"sync_always":false}}}`)
	for _, test := range []struct{ monitor, says string }{
		{careless, "sync_interval: always"},
		{careless, "Without --nats-monitor the node starts"},
		{careless + "/elsewhere", "404"},
		{"http://127.0.0.1:1", "cannot be asked"},
	} {
		says, status := runProgram(t, "--engine", "none", "--listen", "127.0.0.1:0", "--nats", "nats://127.0.0.1:1",
			"--nats-monitor", test.monitor)
		if status != exitFailed || !strings.Contains(says, test.says) {
			t.Errorf("%+v: %d %s", test, status, says)
		}
	}
}

func TestEachEventIsOneLineOfJSON(t *testing.T) {
	pool := startProcess(t)
	fetch(t, http.MethodGet, pool.url+"/nothing", "", nil)
	if err := pool.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	pool.exitStatus(t)
	hasRequest := false
	for _, line := range strings.Split(strings.TrimSpace(pool.text()), "\n") {
		var event struct{ Time, Level, Msg, Path, Code string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Time == "" || event.Level == "" || event.Msg == "" {
			t.Error(line, err)
		}
		hasRequest = hasRequest || event.Msg == "request" && event.Path == "/nothing" && event.Code == "route_not_found"
	}
	if !hasRequest {
		t.Error(pool.text())
	}
}

func TestAProgramThatCannotStartSaysWhyAndFails(t *testing.T) {
	pool := startProcess(t)
	taken := strings.TrimPrefix(pool.url, "http://")
	for _, test := range []struct {
		arguments []string
		status    int
		says      string
	}{
		{[]string{"--engine", "none", "--listen", taken}, exitFailed, "address already in use"},
		{[]string{"--engine", "none", "--listen", "127.0.0.1:0", "--config", "/nowhere.json"}, exitFailed, "no such file"},
		{[]string{"--engine", "none", "--listen", "127.0.0.1:0", "--load", "nobody"}, exitFailed, "there is no model"},
		{[]string{"--engine", "none", "--listen", "127.0.0.1:0", "--tls-certificate", "/nowhere", "--tls-key", "/nowhere"}, exitFailed, "no such file"},
		{[]string{"--engine", "warp"}, exitUsage, "--engine must be one of"},
		{[]string{"--log-level", "loud", "--engine", "none"}, exitUsage, "--log-level"},
	} {
		says, status := runProgram(t, test.arguments...)
		if status != test.status || !strings.Contains(says, test.says) {
			t.Errorf("%v: %d %s", test.arguments, status, says)
		}
	}
}
