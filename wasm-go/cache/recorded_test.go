package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew instead of comparing with it")

const recordedPath = "testdata/recorded.jsonl"

// recorded is a run of operations with the answers that they gave. The tests of the built module replay it too: native
// code and WebAssembly must agree to the last slot.
type recorded struct {
	EntriesMax int    `json:"entriesMax"`
	WeightMax  int64  `json:"weightMax"`
	Seed       uint32 `json:"seed"`
	Steps      []step `json:"-"`
}

type step struct {
	Operation string  `json:"operation"`
	Key       string  `json:"key,omitempty"`
	Weight    int64   `json:"weight,omitempty"`
	TTLMs     int64   `json:"ttlMs,omitempty"`
	NowMs     int64   `json:"nowMs"`
	Slot      int32   `json:"slot"`
	Evicted   []int32 `json:"evicted,omitempty"`
}

func TestRecordedOperationsGiveTheRecordedAnswers(t *testing.T) {
	if *update {
		writeRecorded(t)
	}
	run := readRecorded(t)
	index, err := New(run.EntriesMax, run.WeightMax, uint64(run.Seed))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range run.Steps {
		got := want
		got.perform(index)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d: %+v, want %+v", at, got, want)
		}
	}
}

// perform runs the step and enters the answer.
func (step *step) perform(index *Index) {
	step.Slot, step.Evicted = NoSlot, nil
	switch step.Operation {
	case "insert":
		step.Slot = index.Insert([]byte(step.Key), step.Weight, step.TTLMs, step.NowMs)
		step.Evicted = append(step.Evicted, index.Evicted()...)
	case "lookup":
		step.Slot = index.Lookup([]byte(step.Key), step.NowMs)
	case "remove":
		step.Slot = index.Remove([]byte(step.Key))
	case "sweep":
		index.Sweep(step.NowMs)
		step.Evicted = append(step.Evicted, index.Evicted()...)
	}
}

func writeRecorded(t *testing.T) {
	t.Helper()
	source := rand.New(rand.NewPCG(20261123, 0))
	run := recorded{EntriesMax: 40, WeightMax: 2_000, Seed: 0xfeedface}
	index, _ := New(run.EntriesMax, run.WeightMax, uint64(run.Seed))
	nowMs := int64(1_790_000_000_000)
	for range 1_500 {
		nowMs += int64(source.IntN(20))
		made := step{Operation: "lookup", Key: fmt.Sprintf("tenant/%d", source.IntN(90)), NowMs: nowMs}
		switch source.IntN(10) {
		case 0, 1, 2, 3:
			made.Operation, made.Weight, made.TTLMs = "insert", int64(source.IntN(150)), int64(1+source.IntN(900))
		case 4:
			made.Operation = "remove"
		case 5:
			made.Operation, made.Key = "sweep", ""
		}
		made.perform(index)
		run.Steps = append(run.Steps, made)
	}
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
	if err != io.EOF || len(run.Steps) < 1000 {
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
