package enginetest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// ProgramVariable names the environment variable that holds the path of treeline-engine; without it, pool/dist has it.
const ProgramVariable = "TREELINE_ENGINE"

// Program is the path of treeline-engine; a test without one is skipped, unless CI is set.
func Program(t testing.TB) string {
	t.Helper()
	path := os.Getenv(ProgramVariable)
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "../../../dist/treeline-engine")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("there is no %s: run pool/build.sh", path)
		}
		t.Skipf("there is no %s: run pool/build.sh", path)
	}
	return path
}
