package enginetest

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
)

// Listen starts treeline-engine for gRPC on a free port, with these flags besides, and gives its address. The test's end
// ends it.
func Listen(t testing.TB, flags ...string) string {
	t.Helper()
	flags = append([]string{"--listen", "127.0.0.1:0", "--config", Settings(t).JSON()}, flags...)
	command := exec.Command(Program(t), flags...)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("the engine does not listen: %q, %v", line, err)
	}
	return address
}
