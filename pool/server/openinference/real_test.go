package openinference

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/shm"
	"treeline.dev/pool/engine/shm/shmtest"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rust"
)

// realNode is the door over a real engine.
type realNode struct {
	url      string
	provider *rust.Provider
}

// engines are the transports without copies that the tests were built with, by name.
var engines = map[string]func(testing.TB) engine.Engine{
	"shm": func(t testing.TB) engine.Engine { return shmtest.Open(t, shm.Options{}) },
}

// startReal puts the door in front of an engine.
func startReal(t testing.TB, opened engine.Engine) *realNode {
	t.Helper()
	provider := rust.New(rust.Name, opened, rust.NewStatistics(opened))
	catalogue, err := models.NewCatalogue(models.Options{Providers: []models.Provider{provider}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalogue.Models(t.Context()); err != nil {
		t.Fatal(err)
	}
	oip := &Door{
		Models: catalogue, Bounds: door.Bounds{BodyBytesMax: door.BodyBytesMaxDefault}, Now: time.Now,
		Ready: func() bool { return true },
	}
	mux := http.NewServeMux()
	oip.Mount(mux)
	server := httptest.NewUnstartedServer(door.WithDeadline(door.WithLease(mux)))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return &realNode{url: server.URL + "/v2/models/" + enginetest.IdentityModel + "/infer", provider: provider}
}

// infer makes a call with tensors of UINT8 of these sizes, and gives the status and the answer's binary data.
func (node *realNode) infer(t *testing.T, client *http.Client, sizes ...int) (int, []byte) {
	t.Helper()
	var inputs []string
	var data []byte
	for index, size := range sizes {
		inputs = append(inputs, fmt.Sprintf(`{"name":"x%d","datatype":"UINT8","shape":[%d],`+
			`"parameters":{"binary_data_size":%d}}`, index, size, size))
		data = append(data, bytes.Repeat([]byte{byte('a' + index)}, size)...)
	}
	head := `{"parameters":{"binary_data_output":true},"inputs":[` + strings.Join(inputs, ",") + `]}`
	request, err := http.NewRequest(http.MethodPost, node.url, bytes.NewReader(append([]byte(head), data...)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(headLengthHeader, strconv.Itoa(len(head)))
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	length, _ := strconv.Atoi(answer.Header.Get(headLengthHeader))
	if answer.StatusCode == http.StatusOK && !bytes.Equal(read[length:], data) {
		t.Fatal("the tensors came back otherwise")
	}
	return answer.StatusCode, read[length:]
}

// byHTTP2 is a client that speaks HTTP/2 without TLS.
func byHTTP2(t *testing.T) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTensorsAreReadFromAndWrittenToTheEnginesMemory(t *testing.T) {
	for transport, open := range engines {
		t.Run(transport, func(t *testing.T) { checkNothingIsCopied(t, startReal(t, open(t))) })
	}
}

func checkNothingIsCopied(t *testing.T, node *realNode) {
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": byHTTP2(t)} {
		before := node.provider.BytesCopied()
		for _, sizes := range [][]int{{1}, {3, 1 << 20, 0, 7}, {5 << 20}} {
			if status, answer := node.infer(t, client, sizes...); status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, status, answer)
			}
		}
		if copied := node.provider.BytesCopied() - before; copied != 0 {
			t.Errorf("%s: %d bytes were copied", name, copied)
		}
	}
	status, _ := post(t, node.url, `{"inputs":[{"name":"x","datatype":"INT32","shape":[2,2],"data":[[1,2],[3,4]]},`+
		`{"name":"y","datatype":"BYTES","shape":[2],"data":["Grüße","\u00e9"]}]}`)
	if copied := node.provider.BytesCopied(); status != http.StatusOK || copied != 0 {
		t.Errorf("%d: of numbers and texts in JSON %d bytes were copied", status, copied)
	}
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(read)
}

// arenaBytes is small, so that what is lost is missed soon.
const arenaBytes = 16 << 20

// TestNoMemoryIsLostWhateverEndsACall ends ten thousand calls in the ways in which calls end too early. Afterwards nothing
// of the arena for calls is in use, and one answer fits that needs the whole arena for answers.
func TestNoMemoryIsLostWhateverEndsACall(t *testing.T) {
	behind := shmtest.Open(t, shm.Options{RequestBytes: arenaBytes, ReplyBytes: arenaBytes})
	node := startReal(t, behind)
	before := behind.RequestBytesTaken()
	node.abortMany(t, 10_000, 64<<10)
	deadline := time.Now().Add(20 * time.Second)
	for behind.RequestBytesTaken() != before {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of the arena for calls became %d", before, behind.RequestBytesTaken())
		}
		time.Sleep(5 * time.Millisecond)
	}
	// Half of the arena, a quarter, and so on, but for 32 KiB in which the answer's message and table find room.
	whole := []int{8 << 20, 4 << 20, 2 << 20, 1 << 20, 512 << 10, 256 << 10, 128 << 10, 64 << 10, 32 << 10}
	for {
		status, answer := node.infer(t, http.DefaultClient, whole...)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d: the answer that needs the whole arena: %s", status, answer)
		}
		// The worker hears of the last releases in a moment.
		time.Sleep(20 * time.Millisecond)
	}
}

// abortMany makes calls of that many bytes, all of which end too early.
func (node *realNode) abortMany(t *testing.T, calls, size int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const callers = 20
	client := byHTTP2(t)
	var group sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		group.Go(func() {
			for range calls / callers {
				node.abort(random, client, size)
			}
		})
	}
	group.Wait()
}

// abort makes a call that ends too early: by TCP while the client sends, or before or while it reads; by a reset
// of its stream; by its deadline; or by data that does not fit.
func (node *realNode) abort(random *rand.Rand, client *http.Client, size int) {
	body, headLength := binaryBody(size)
	address, path, _ := strings.Cut(strings.TrimPrefix(node.url, "http://"), "/")
	head := fmt.Sprintf("POST /%s HTTP/1.1\r\nHost: pool\r\nContent-Length: %d\r\n%s: %s\r\n",
		path, len(body), headLengthHeader, headLength)
	way := random.IntN(6)
	switch way {
	case 0, 1, 2:
		sent := body
		if way == 0 {
			sent = body[:random.IntN(len(body))]
		}
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(connection, head+"\r\n")
		_, _ = connection.Write(sent)
		if way == 2 {
			_, _ = io.CopyN(io.Discard, bufio.NewReader(connection), int64(random.IntN(size)))
		}
	case 3, 4:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(4000))*time.Microsecond)
		defer cancel()
		request, _ := http.NewRequestWithContext(ctx, http.MethodPost, node.url, bytes.NewReader(body))
		request.Header.Set(headLengthHeader, headLength)
		if way == 4 {
			request.Header.Set(door.DeadlineHeader, "1")
		}
		if answer, err := client.Do(request); err == nil {
			_, _ = io.CopyN(io.Discard, answer.Body, int64(random.IntN(size)))
			_ = answer.Body.Close()
		}
	case 5:
		request, _ := http.NewRequest(http.MethodPost, node.url, io.MultiReader(bytes.NewReader(body), strings.NewReader("more")))
		request.Header.Set(headLengthHeader, headLength)
		if answer, err := client.Do(request); err == nil {
			_ = answer.Body.Close()
		}
	}
}
