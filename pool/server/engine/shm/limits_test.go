package shm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func TestACallWithoutRoomIsRefusedAfterAShortWaitAndTheNextOneIsGood(t *testing.T) {
	opened := open(t, func(options *Options) { options.RequestBytes = 1 << 20 })
	all, err := opened.Reserve(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	call := &engine.Call{Operation: enginev1.Operation_OPERATION_ECHO, Payload: [][]byte{make([]byte, 64)}}
	_, err = opened.Call(t.Context(), call)
	if status := statusOf(t, err); status != enginev1.Status_STATUS_OVERLOADED {
		t.Fatalf("%v: %v", status, err)
	}
	if elapsed := time.Since(start); elapsed < roomWaitMax || elapsed > 10*roomWaitMax {
		t.Errorf("it waited %v", elapsed)
	}
	all.Release()
	reply, err := opened.Call(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	reply.Release()
	awaitNothingHeld(t, opened)
}

func TestAReplyWithoutRoomIsRefusedAndMemoryComesBack(t *testing.T) {
	opened := open(t, func(options *Options) { options.ReplyBytes = 1 << 20 })
	infer := func(size int) (*engine.Reply, error) {
		tensor := &v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{int64(size)}}
		return opened.Call(t.Context(), enginetest.Infer(t, []*v1.Tensor{tensor}, [][]byte{make([]byte, size)}))
	}
	_, err := infer(2 << 20)
	if status := statusOf(t, err); status != enginev1.Status_STATUS_OVERLOADED {
		t.Fatalf("%v: %v", status, err)
	}
	// Far more than the arena holds, as long as each is released.
	for range 50 {
		reply, err := infer(400 << 10)
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
	}
}

func TestFreeMemoryGoesBackToTheSystem(t *testing.T) {
	opened := open(t, nil)
	resident := func() int64 {
		var status unix.Stat_t
		if err := unix.Fstat(int(opened.requests.memory.file.Fd()), &status); err != nil {
			t.Fatal(err)
		}
		return status.Blocks * 512
	}
	buffer, err := opened.Reserve(200 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for offset := 0; offset < len(buffer.Bytes); offset += 4096 {
		buffer.Bytes[offset] = 1
	}
	if used := resident(); used < 200<<20 {
		t.Fatalf("only %d bytes were used", used)
	}
	buffer.Release()
	if used := resident(); used > requestBytesKept+chunkBytes {
		t.Fatalf("%d bytes are still used", used)
	}
}

func TestAnEngineOfAnotherContractIsRefusedAtTheStartWithBothNamed(t *testing.T) {
	for _, other := range []engine.Contract{
		{ABIVersion: engine.ABIVersion + 1, Hash: engine.Built.Hash},
		{ABIVersion: engine.ABIVersion, Hash: "0123456789abcdef"},
	} {
		opened, err := Open(Options{
			Program: enginetest.Program(t), Settings: enginetest.Settings(t), Contract: other, Stderr: io.Discard,
		})
		if err == nil {
			_ = opened.Close(context.Background())
			t.Fatalf("%v was accepted", other)
		}
		if status := statusOf(t, err); status != enginev1.Status_STATUS_VERSION_MISMATCH {
			t.Fatalf("%v: %v", status, err)
		}
		for _, part := range []string{other.Hash, engine.Built.Hash, strconv.Itoa(int(other.ABIVersion))} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %s", err, part)
			}
		}
	}
}

func TestAProgramThatIsNoEngineIsRefused(t *testing.T) {
	for _, program := range []string{"/nonexistent/treeline-engine", "/bin/true", "/bin/echo"} {
		if opened, err := Open(Options{Program: program, Stderr: io.Discard}); err == nil {
			_ = opened.Close(context.Background())
			t.Fatalf("%s was accepted", program)
		}
	}
}

func TestWhatAWorkerWritesIsNeverReadOutsideTheArena(t *testing.T) {
	replies, err := newMemory("test", arenaBytesMin, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatal(err)
	}
	defer replies.close()
	lying := &worker{replies: replies}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	// Numbers near the edges are likelier to slip through than any others.
	edge := func() uint64 {
		edges := []uint64{0, 1, 7, 8, arenaBytesMin - 1, arenaBytesMin, arenaBytesMin + 1, 1 << 32, 1 << 63, ^uint64(0)}
		return edges[random.IntN(len(edges))] + uint64(random.IntN(3)) - 1
	}
	for range 200_000 {
		slot := &replySlot{
			headerOffset: edge(), headerLength: uint32(edge()), segmentCount: uint32(edge()), tableOffset: edge(),
		}
		for index := range slot.pieces {
			slot.pieces[index] = piece{edge(), edge()}
		}
		header, payload, err := lying.locate(slot)
		if err != nil {
			continue
		}
		for _, part := range append(payload, header) {
			for _, index := range []int{0, len(part) - 1} {
				if len(part) > 0 {
					_ = part[index] // Faults where it lies outside.
				}
			}
		}
	}
}

func TestASpoiledQueueIsNoticed(t *testing.T) {
	control, err := newMemory("test", controlBytes, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatal(err)
	}
	defer control.close()
	replies := newQueue[replySlot](control, atRepliesTail, atRepliesHead, atQueues, replySlots)
	control.word(atRepliesTail).Store(replySlots + 1)
	if _, err := replies.pop(&replySlot{}); !errors.Is(err, errCorrupt) {
		t.Fatal(err)
	}
	calls := newQueue[callSlot](control, atCallsTail, atCallsHead, atQueues, callSlots)
	control.word(atCallsHead).Store(1)
	if _, err := calls.push(&callSlot{}); !errors.Is(err, errCorrupt) {
		t.Fatal(err)
	}
}

// parentVariable makes the test's program a server that is killed.
const parentVariable = "TREELINE_TEST_PARENT"

func TestAWorkerEndsWithItsServer(t *testing.T) {
	if os.Getenv(parentVariable) != "" {
		opened := open(t, nil)
		os.Stdout.WriteString("worker " + strconv.Itoa(opened.Processes()[0]) + "\n")
		select {}
	}
	server := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	server.Env = append(os.Environ(), parentVariable+"=1", enginetest.ProgramVariable+"="+enginetest.Program(t))
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Wait() }()
	process := processOf(t, output)
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); alive(process); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the worker %d still runs", process)
		}
	}
}

func processOf(t *testing.T, output io.Reader) int {
	t.Helper()
	var read []byte
	buffer := make([]byte, 256)
	for !bytes.Contains(read, []byte("\n")) {
		count, err := output.Read(buffer)
		if err != nil {
			t.Fatalf("the server said %q: %v", read, err)
		}
		read = append(read, buffer[:count]...)
	}
	process, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(read), "worker ")))
	if err != nil {
		t.Fatal(err)
	}
	return process
}

// alive tells whether a process runs; one that has ended but was not waited for does not.
func alive(process int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(process) + "/stat")
	return err == nil && !strings.Contains(string(status), ") Z ") && syscall.Kill(process, 0) == nil
}
