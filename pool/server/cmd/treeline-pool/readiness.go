package main

import (
	"net/http"
	"sync/atomic"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// readiness is whether the node takes calls: its startup models are loaded, and it does not drain.
type readiness struct {
	catalogue *models.Catalogue
	started   atomic.Bool
}

func (readiness *readiness) ready() bool {
	return readiness.started.Load() && !readiness.catalogue.Draining()
}

// modelState is a model in the answer of /readyz.
type modelState struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

type readyAnswer struct {
	Ready    bool         `json:"ready"`
	Draining bool         `json:"draining"`
	Models   []modelState `json:"models"`
}

// answer tells whether the node is ready, and where it is not, which models it waits for.
func (readiness *readiness) answer(writer http.ResponseWriter, request *http.Request) {
	shown := readyAnswer{Ready: readiness.ready(), Draining: readiness.catalogue.Draining(), Models: []modelState{}}
	listed, _ := readiness.catalogue.Models(request.Context())
	for _, model := range listed {
		shown.Models = append(shown.Models, modelState{model.GetName(), stateWord(model.GetState()), model.GetReason()})
	}
	status := http.StatusOK
	if !shown.Ready {
		status = http.StatusServiceUnavailable
	}
	door.WriteJSON(writer, status, shown)
}

// stateWord is a state as people read it.
func stateWord(state v1.ModelState) string {
	switch state {
	case v1.ModelState_MODEL_STATE_LOADING:
		return "loading"
	case v1.ModelState_MODEL_STATE_READY:
		return "ready"
	case v1.ModelState_MODEL_STATE_UNLOADING:
		return "unloading"
	case v1.ModelState_MODEL_STATE_UNLOADED:
		return "unloaded"
	case v1.ModelState_MODEL_STATE_FAILED:
		return "failed"
	}
	return "unknown"
}
