package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// triton counts under Triton's names. They are exported without a type: OpenMetrics would add _total to the names of
// counters, and dashboards made for Triton would find nothing.
type triton struct {
	lock   sync.Mutex
	models map[modelLabels]*tritonCounts
}

type tritonCounts struct {
	success    float64
	failures   map[string]float64
	inferences float64
	executions float64
	request    time.Duration
	queue      time.Duration
}

func newTriton() *triton { return &triton{models: map[modelLabels]*tritonCounts{}} }

func (triton *triton) record(labels modelLabels, outcome Outcome, elapsed time.Duration) {
	triton.lock.Lock()
	defer triton.lock.Unlock()
	counts, known := triton.models[labels]
	if !known {
		counts = &tritonCounts{failures: map[string]float64{}}
		triton.models[labels] = counts
	}
	if outcome.Err != nil {
		counts.failures[tritonReason(outcome.Err)]++
		return
	}
	counts.success++
	counts.inferences += float64(max(outcome.Inputs, 1))
	counts.executions++
	counts.request += elapsed
	counts.queue += time.Duration(outcome.Usage.GetQueueNs())
}

// tritonReason is Triton's word for why a request failed.
func tritonReason(err error) string {
	var failed *engine.Error
	if errors.As(err, &failed) {
		switch failed.Status {
		case enginev1.Status_STATUS_CANCELLED:
			return "CANCELED"
		case enginev1.Status_STATUS_OVERLOADED, enginev1.Status_STATUS_UNAVAILABLE, enginev1.Status_STATUS_DEADLINE_EXCEEDED:
			return "REJECTED"
		case enginev1.Status_STATUS_INTERNAL, enginev1.Status_STATUS_ENGINE_CRASHED, enginev1.Status_STATUS_MEMORY_EXCEEDED:
			return "BACKEND"
		}
	}
	if errors.Is(err, context.Canceled) {
		return "CANCELED"
	}
	return "OTHER"
}

func tritonDescription(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"model", "version"}, more...), nil)
}

var (
	tritonSuccess    = tritonDescription("nv_inference_request_success", "Calls that succeeded.")
	tritonFailure    = tritonDescription("nv_inference_request_failure", "Calls that failed.", "reason")
	tritonInferences = tritonDescription("nv_inference_count", "Inputs answered: a call with a batch of n counts n.")
	tritonExecutions = tritonDescription("nv_inference_exec_count",
		"Calls given to the engine. What its dynamic batching makes of them: treeline_pool_engine_batches_total.")
	tritonRequest = tritonDescription("nv_inference_request_duration_us", "Time of all calls together, in microseconds.")
	tritonQueue   = tritonDescription("nv_inference_queue_duration_us", "Time that calls waited in the engine, in microseconds.")
)

// Describe lists the metrics.
func (triton *triton) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{
		tritonSuccess, tritonFailure, tritonInferences, tritonExecutions, tritonRequest, tritonQueue,
	} {
		descriptions <- description
	}
}

// Collect gives the values now.
func (triton *triton) Collect(values chan<- prometheus.Metric) {
	triton.lock.Lock()
	defer triton.lock.Unlock()
	for labels, counts := range triton.models {
		give := func(description *prometheus.Desc, value float64, more ...string) {
			all := append([]string{labels.model, labels.version}, more...)
			values <- prometheus.MustNewConstMetric(description, prometheus.UntypedValue, value, all...)
		}
		give(tritonSuccess, counts.success)
		for reason, failures := range counts.failures {
			give(tritonFailure, failures, reason)
		}
		give(tritonInferences, counts.inferences)
		give(tritonExecutions, counts.executions)
		give(tritonRequest, float64(counts.request.Microseconds()))
		give(tritonQueue, float64(counts.queue.Microseconds()))
	}
}
