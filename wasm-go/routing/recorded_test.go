package routing

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew instead of comparing with it")

const recordedPath = "testdata/recorded.jsonl"

// recorded is a run of calls with the choices made. The tests of the built module replay it too: native code and
// WebAssembly must agree to the last bit of the average latency.
type recorded struct {
	Weights []float64 `json:"weights"`
	Steps   []step    `json:"-"`
}

// step is a choice, and what then became of the call: it ends after EndsAfter further steps.
type step struct {
	NowMs     int64   `json:"nowMs"`
	FractionA float64 `json:"fractionA"`
	FractionB float64 `json:"fractionB"`
	EndsAfter int     `json:"endsAfter"`
	LatencyMs float64 `json:"latencyMs"`
	Succeeded bool    `json:"succeeded"`
	// What the router answered, and the chosen upstream's average afterwards.
	Chosen  int     `json:"chosen"`
	Average float64 `json:"average"`
}

func TestRecordedCallsGiveTheRecordedChoices(t *testing.T) {
	if *update {
		writeRecorded(t)
	}
	run := readRecorded(t)
	replayed := recorded{Weights: run.Weights, Steps: append([]step(nil), run.Steps...)}
	replayed.perform(t)
	for at, want := range run.Steps {
		if got := replayed.Steps[at]; got != want {
			t.Fatalf("step %d: %+v, want %+v", at, got, want)
		}
	}
}

// perform runs all steps and enters the answers.
func (run *recorded) perform(t *testing.T) {
	t.Helper()
	router := newRouter(t, run.Weights...)
	for at := range run.Steps {
		made := &run.Steps[at]
		run.endDue(router, at)
		made.Chosen = router.Choose(made.NowMs, made.FractionA, made.FractionB)
		made.Average = 0
		if made.Chosen != None {
			router.Begin(made.Chosen, made.NowMs)
			made.Average = router.Upstream(made.Chosen).LatencyMs
		}
	}
}

// endDue ends the calls whose end falls on a step.
func (run *recorded) endDue(router *Router, at int) {
	for begun := range at {
		call := run.Steps[begun]
		if begun+call.EndsAfter == at && call.Chosen != None {
			router.End(call.Chosen, run.Steps[at].NowMs, call.LatencyMs, call.Succeeded)
		}
	}
}

func writeRecorded(t *testing.T) {
	t.Helper()
	source := rand.New(rand.NewPCG(20261123, 1))
	run := recorded{Weights: []float64{1, 2, 0.5, 0, 3}}
	nowMs := int64(1_790_000_000_000)
	for at := range 800 {
		nowMs += int64(source.IntN(300))
		run.Steps = append(run.Steps, step{
			NowMs:     nowMs,
			FractionA: source.Float64(),
			FractionB: source.Float64(),
			EndsAfter: 1 + source.IntN(20),
			LatencyMs: 500 * source.Float64() * source.Float64(),
			// A stretch in which nearly everything fails, so that ejections are part of the recording.
			Succeeded: source.Float64() < 0.97 && (at < 300 || at > 380),
		})
	}
	run.perform(t)
	run.write(t)
}

// readRecorded reads the head from the first line and a step from each further one.
func readRecorded(t *testing.T) (run recorded) {
	t.Helper()
	file, err := os.Open(recordedPath)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := json.NewDecoder(file)
	for err = lines.Decode(&run); err == nil; {
		var next step
		if err = lines.Decode(&next); err == nil {
			run.Steps = append(run.Steps, next)
		}
	}
	if err != io.EOF || len(run.Steps) < 500 {
		t.Fatalf("%s: %v after %d steps", recordedPath, err, len(run.Steps))
	}
	return run
}

func (run *recorded) write(t *testing.T) {
	t.Helper()
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	err := lines.Encode(run)
	for _, made := range run.Steps {
		err = errors.Join(err, lines.Encode(made))
	}
	if err = errors.Join(err, os.WriteFile(recordedPath, text.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}
