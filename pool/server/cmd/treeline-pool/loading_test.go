package main

import (
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

func TestLoadingIsDoneWhenNothingLoadsAndTheWantedAreReady(t *testing.T) {
	state := func(name, version string, state v1.ModelState) *v1.Model {
		return &v1.Model{Name: name, Version: version, State: state, Reason: "Why."}
	}
	loading, ready := v1.ModelState_MODEL_STATE_LOADING, v1.ModelState_MODEL_STATE_READY
	failed, unloaded := v1.ModelState_MODEL_STATE_FAILED, v1.ModelState_MODEL_STATE_UNLOADED
	for _, test := range []struct {
		title     string
		listed    []*v1.Model
		wanted    []string
		tolerates bool
		isDone    bool
		fails     bool
	}{
		{"nothing there, nothing wanted", nil, nil, false, true, false},
		{"one loads", []*v1.Model{state("a", "1", loading)}, nil, false, false, false},
		{"one failed", []*v1.Model{state("a", "1", ready), state("b", "1", failed)}, nil, false, false, false},
		{"one failed and may", []*v1.Model{state("a", "1", ready), state("b", "1", failed)}, []string{"a"}, true, true, false},
		{"the wanted failed", []*v1.Model{state("a", "1", failed)}, []string{"a"}, true, false, false},
		{"the wanted is not there", nil, []string{"a"}, false, false, true},
		{"the wanted version is not there", []*v1.Model{state("a", "1", ready)}, []string{"a:2"}, false, false, true},
		{"the wanted waits", []*v1.Model{state("a", "1", unloaded)}, []string{"a"}, false, false, false},
		{"another version is ready", []*v1.Model{state("a", "1", ready), state("a", "2", unloaded)}, []string{"a:2"}, false, false, false},
		{"an old version failed", []*v1.Model{state("a", "1", failed), state("a", "2", ready)}, []string{"a"}, false, true, false},
	} {
		isDone, err := progress(test.listed, test.wanted, test.tolerates)
		if isDone != test.isDone || (err != nil) != test.fails {
			t.Error(test.title, isDone, err)
		}
	}
}
