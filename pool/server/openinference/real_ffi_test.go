//go:build ffi

package openinference

import (
	"context"
	"net/http"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/ffi"
)

func init() {
	engines["ffi"] = func(t testing.TB) engine.Engine {
		opened, err := ffi.Open(ffi.Options{Settings: enginetest.Settings(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := opened.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		return opened
	}
}

// TestAnswersInTheLibrarysMemoryOutlastWhatIsWrittenOfThem frees large answers while the connection may still be writing
// them, which ends the process where it reads what is no longer there.
func TestAnswersInTheLibrarysMemoryOutlastWhatIsWrittenOfThem(t *testing.T) {
	node := startReal(t, engines["ffi"](t))
	node.abortMany(t, 400, 4<<20)
	if status, answer := node.infer(t, http.DefaultClient, 4<<20); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
}
