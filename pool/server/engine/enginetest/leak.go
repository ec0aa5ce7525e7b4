package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	leakCallers = 8
	// leakBytesMax is how much more memory a process may hold after a million calls than after the first hundred thousand:
	// less than a tenth of a byte a call would show.
	leakBytesMax = 16 << 20
)

// LeakNothing makes a million calls, of which every hundredth goes through a model, and looks whether this process and
// the engine's processes hold more memory than after a tenth of them.
func LeakNothing(t *testing.T, to engine.Engine, processes []int) {
	if testing.Short() {
		t.Skip("a million calls take a while")
	}
	processes = append(processes, os.Getpid())
	callMany(t, to, 100_000)
	before := residentOf(t, processes)
	callMany(t, to, 900_000)
	after := residentOf(t, processes)
	for index, process := range processes {
		t.Logf("process %d: %d KiB, then %d KiB", process, before[index]>>10, after[index]>>10)
		if after[index] > before[index]+leakBytesMax {
			t.Errorf("process %d grew by %d bytes", process, after[index]-before[index])
		}
	}
}

func callMany(t *testing.T, to engine.Engine, calls int) {
	var group sync.WaitGroup
	for caller := range leakCallers {
		group.Go(func() {
			segment := bytes.Repeat([]byte{byte(caller)}, 64)
			echo := &engine.Call{Operation: enginev1.Operation_OPERATION_ECHO, Payload: [][]byte{segment}}
			tensor := &v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{64}}
			infer := Infer(t, []*v1.Tensor{tensor}, [][]byte{segment})
			for number := range calls / leakCallers {
				call := echo
				if number%100 == 0 {
					call = infer
				}
				if err := callOnce(t, to, call, segment); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func callOnce(t *testing.T, to engine.Engine, call *engine.Call, want []byte) error {
	reply, err := to.Call(t.Context(), call)
	if err != nil {
		return err
	}
	defer reply.Release()
	if len(reply.Payload) != 1 || !bytes.Equal(reply.Payload[0], want) {
		return fmt.Errorf("a segment came back otherwise")
	}
	return nil
}

// residentOf is the memory that each process has in use, in bytes.
func residentOf(t *testing.T, processes []int) []int64 {
	t.Helper()
	debug.FreeOSMemory()
	sizes := make([]int64, len(processes))
	for index, process := range processes {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(process) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
				kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
				sizes[index] = kilobytes << 10
			}
		}
	}
	return sizes
}
