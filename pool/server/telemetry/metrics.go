package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Buckets in seconds, from a token of a small model to the answer of a large one.
var (
	tokenBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}
	firstBuckets   = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	requestBuckets = []float64{.001, .005, .01, .05, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 240}
	lengthBuckets  = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000}
	boundaryBucket = prometheus.ExponentialBuckets(1e-6, 4, 12)
)

// metrics are all that are counted by this process itself.
type metrics struct {
	models *boundedModels

	// vLLM's.
	promptTokens, generationTokens *prometheus.CounterVec
	requestSuccess                 *prometheus.CounterVec
	timeToFirstToken               *prometheus.HistogramVec
	interTokenLatency              *prometheus.HistogramVec
	timePerOutputToken             *prometheus.HistogramVec
	requestLatency                 *prometheus.HistogramVec
	queueTime, prefillTime         *prometheus.HistogramVec
	decodeTime                     *prometheus.HistogramVec
	promptLength, answerLength     *prometheus.HistogramVec

	// The pool's own.
	node            *prometheus.GaugeVec
	inFlight        *prometheus.GaugeVec
	failures        *prometheus.CounterVec
	httpRequests    *prometheus.CounterVec
	httpDuration    *prometheus.HistogramVec
	boundaryBytes   *prometheus.CounterVec
	boundaryLatency *prometheus.HistogramVec
	workerRestarts  prometheus.Counter
	draining        prometheus.Gauge
	jobs            *prometheus.CounterVec
	jobsRunning     prometheus.Gauge
	jobsQueued      prometheus.Gauge
	deadLetters     *prometheus.CounterVec
	certificateEnds prometheus.Gauge

	all []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{models: newBoundedModels()}
	m.addServing()
	m.addNode()
	m.addJobs()
	return m
}

func (m *metrics) addServing() {
	const model = "model_name"
	m.promptTokens = m.counter("vllm:prompt_tokens_total", "Prompt tokens read.", model)
	m.generationTokens = m.counter("vllm:generation_tokens_total", "Tokens generated.", model)
	m.requestSuccess = m.counter("vllm:request_success_total", "Choices that ended, by why.", model, "finished_reason")
	m.timeToFirstToken = m.histogram("vllm:time_to_first_token_seconds", "From the call to its first token.", firstBuckets, model)
	m.interTokenLatency = m.histogram("vllm:inter_token_latency_seconds", "Between two tokens of a choice.", tokenBuckets, model)
	m.timePerOutputToken = m.histogram("vllm:request_time_per_output_token_seconds", "A call's mean time a token after the first.", tokenBuckets, model)
	m.requestLatency = m.histogram("vllm:e2e_request_latency_seconds", "From a generation's call to its end.", requestBuckets, model)
	m.queueTime = m.histogram("vllm:request_queue_time_seconds", "Waiting in the engine.", requestBuckets, model)
	m.prefillTime = m.histogram("vllm:request_prefill_time_seconds", "Reading the prompt.", requestBuckets, model)
	m.decodeTime = m.histogram("vllm:request_decode_time_seconds", "Generating.", requestBuckets, model)
	m.promptLength = m.histogram("vllm:request_prompt_tokens", "Tokens of a call's prompt.", lengthBuckets, model)
	m.answerLength = m.histogram("vllm:request_generation_tokens", "Tokens that a call generated.", lengthBuckets, model)
	m.inFlight = m.gauge("treeline_pool_operations_in_flight", "Calls of models that the server has begun and not ended.", model)
	m.failures = m.counter("treeline_pool_operation_failures_total", "Calls of models that failed, by why.", model, "operation", "reason")
}

func (m *metrics) addNode() {
	m.node = m.gauge("treeline_pool_node_info", "1, with the node's id and version.", "node", "version")
	m.httpRequests = m.counter("treeline_pool_http_requests_total", "HTTP requests answered.", "method", "route", "code")
	m.httpDuration = m.histogram("treeline_pool_http_request_duration_seconds", "From an HTTP request's head to the end of its answer.", requestBuckets, "method", "route")
	m.boundaryBytes = m.counter("treeline_pool_ipc_copied_bytes_total", "Bytes of payload copied between server and engine.", "transport")
	m.boundaryLatency = m.histogram("treeline_pool_ipc_call_duration_seconds", "From the server's call to the engine's answer.", boundaryBucket, "transport")
	m.workerRestarts = m.add(prometheus.NewCounter(prometheus.CounterOpts{
		Name: "treeline_pool_worker_restarts_total", Help: "Engine workers started again after a crash."})).(prometheus.Counter)
	m.draining = m.add(prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "treeline_pool_draining", Help: "1 while the node refuses new calls."})).(prometheus.Gauge)
	m.certificateEnds = m.add(prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "treeline_pool_certificate_expiry_timestamp_seconds", Help: "When the certificate in use runs out; 0: there is none."})).(prometheus.Gauge)
}

func (m *metrics) addJobs() {
	m.jobs = m.counter("treeline_pool_jobs_total", "Jobs that this node brought into a state.", "state")
	m.jobsRunning = m.add(prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "treeline_pool_jobs_running", Help: "Jobs that run on this node."})).(prometheus.Gauge)
	m.jobsQueued = m.add(prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "treeline_pool_jobs_queued", Help: "Jobs in the queue of the whole pool, running ones included, as last seen."})).(prometheus.Gauge)
	m.deadLetters = m.counter("treeline_pool_dead_letters_total", "Jobs that this node put to the dead letters, by why.", "reason")
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return m.add(prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)).(*prometheus.CounterVec)
}

func (m *metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return m.add(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)).(*prometheus.GaugeVec)
}

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	options := prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
	return m.add(prometheus.NewHistogramVec(options, labels)).(*prometheus.HistogramVec)
}

func (m *metrics) add(collector prometheus.Collector) prometheus.Collector {
	m.all = append(m.all, collector)
	return collector
}

// Describe and Collect make all of them one collector.
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, collector := range m.all {
		collector.Describe(descriptions)
	}
}

// Collect gives the values now.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	for _, collector := range m.all {
		collector.Collect(values)
	}
}

// observe adds a time, with the operation's trace as its exemplar.
func (operation *Operation) observe(histogram *prometheus.HistogramVec, elapsed time.Duration) {
	observe(histogram.WithLabelValues(operation.labels.model), elapsed.Seconds(), operation.traceID)
}

func observe(observer prometheus.Observer, value float64, traceID string) {
	exemplars, can := observer.(prometheus.ExemplarObserver)
	if traceID == "" || !can {
		observer.Observe(value)
		return
	}
	exemplars.ObserveWithExemplar(value, prometheus.Labels{"trace_id": traceID})
}

// record adds the operation to the metrics.
func (operation *Operation) record(outcome Outcome, elapsed time.Duration) {
	metrics, model := operation.telemetry.metrics, operation.labels.model
	if outcome.Err != nil {
		metrics.failures.WithLabelValues(model, string(operation.call.Kind), errorType(outcome.Err)).Inc()
	}
	if usage := outcome.Usage; usage != nil {
		metrics.promptTokens.WithLabelValues(model).Add(float64(usage.GetPromptTokens()))
		metrics.generationTokens.WithLabelValues(model).Add(float64(usage.GetCompletionTokens()))
	}
	if operation.isGeneration() {
		operation.recordGeneration(outcome, elapsed)
	}
}

func (operation *Operation) isGeneration() bool {
	return operation.call.Kind == Chat || operation.call.Kind == TextCompletion
}

func (operation *Operation) recordGeneration(outcome Outcome, elapsed time.Duration) {
	metrics, model := operation.telemetry.metrics, operation.labels.model
	operation.observe(metrics.requestLatency, elapsed)
	for _, reason := range outcome.FinishReasons {
		metrics.requestSuccess.WithLabelValues(model, finishedReason(reason)).Inc()
	}
	usage := outcome.Usage
	if usage == nil {
		return
	}
	operation.observe(metrics.queueTime, time.Duration(usage.GetQueueNs()))
	operation.observe(metrics.prefillTime, time.Duration(usage.GetPrefillNs()))
	operation.observe(metrics.decodeTime, time.Duration(usage.GetDecodeNs()))
	metrics.promptLength.WithLabelValues(model).Observe(float64(usage.GetPromptTokens()))
	metrics.answerLength.WithLabelValues(model).Observe(float64(usage.GetCompletionTokens()))
	if tokens := usage.GetCompletionTokens(); tokens > 1 && !operation.first.IsZero() {
		sinceFirst := operation.began.Add(elapsed).Sub(operation.first)
		operation.observe(metrics.timePerOutputToken, sinceFirst/time.Duration(tokens-1))
	}
}

// Metrics answers scrapes: OpenMetrics, which has the exemplars, for who asks for it, and Prometheus' text otherwise.
func (telemetry *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(telemetry.registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

// Boundary records a call over the boundary to the engine: ffi, shm or grpc.
func (telemetry *Telemetry) Boundary(transport string, bytesCopied uint64, elapsed time.Duration) {
	telemetry.metrics.boundaryBytes.WithLabelValues(transport).Add(float64(bytesCopied))
	telemetry.metrics.boundaryLatency.WithLabelValues(transport).Observe(elapsed.Seconds())
}

// WorkerRestarted records that an engine's worker was started again after a crash.
func (telemetry *Telemetry) WorkerRestarted() { telemetry.metrics.workerRestarts.Inc() }

// SetDraining records whether the node refuses new calls.
func (telemetry *Telemetry) SetDraining(draining bool) {
	telemetry.metrics.draining.Set(map[bool]float64{true: 1}[draining])
}

// SetCertificateEnds records when the certificate in use runs out.
func (telemetry *Telemetry) SetCertificateEnds(ends time.Time) {
	telemetry.metrics.certificateEnds.Set(float64(ends.Unix()))
}

// JobChanged records that this node brought a job into a state. With JobsRunning, JobsQueued and DeadLettered it makes
// Telemetry a jobs.Observer.
func (telemetry *Telemetry) JobChanged(state v1.JobState) {
	telemetry.metrics.jobs.WithLabelValues(jobStateName(state)).Inc()
}

// JobsRunning records how many jobs run on this node.
func (telemetry *Telemetry) JobsRunning(running int) {
	telemetry.metrics.jobsRunning.Set(float64(running))
}

// JobsQueued records how many jobs the pool's queue holds.
func (telemetry *Telemetry) JobsQueued(queued uint64) {
	telemetry.metrics.jobsQueued.Set(float64(queued))
}

// DeadLettered records a job put to the dead letters; reason is from a closed list.
func (telemetry *Telemetry) DeadLettered(reason string) {
	telemetry.metrics.deadLetters.WithLabelValues(reason).Inc()
}
