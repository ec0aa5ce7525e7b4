package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func scrape(t *testing.T, telemetry *Telemetry, accept string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	response := httptest.NewRecorder()
	telemetry.Metrics().ServeHTTP(response, request)
	if response.Code != http.StatusOK {
		t.Fatalf("%d: %s", response.Code, response.Body)
	}
	return response.Body.String()
}

// exercised is a telemetry in which everything has been recorded once.
func exercised(t *testing.T) *Telemetry {
	t.Helper()
	telemetry := newTelemetry(t, Options{SampleRatio: 1})
	ctx, operation := telemetry.Start(WithTraceparent(t.Context(), traceparent), chatCall())
	if ctx == nil {
		t.Fatal("no context")
	}
	for range 3 {
		operation.Piece(0, 1)
	}
	operation.End(chatOutcome())
	_, failing := telemetry.Start(t.Context(), Call{Kind: Embeddings, Model: "minilm", Version: "2"})
	failing.End(Outcome{Err: &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED}})
	_, batch := telemetry.Start(t.Context(), Call{Kind: Embeddings, Model: "minilm", Version: "2"})
	batch.End(Outcome{Inputs: 8})
	telemetry.Boundary("shm", 4096, time.Millisecond)
	telemetry.WorkerRestarted()
	telemetry.SetDraining(true)
	telemetry.SetCertificateEnds(time.Unix(2_000_000_000, 0))
	telemetry.JobChanged(v1.JobState_JOB_STATE_SUCCEEDED)
	telemetry.JobsRunning(2)
	telemetry.JobsQueued(3)
	telemetry.DeadLettered("poison")
	watchOnce(t, telemetry, &enginev1.EngineStats{
		Running: 1, Waiting: 2, KvBlocks: 8, KvBlocksUsed: 2, PrefixCacheQueries: 10, PrefixCacheHits: 5, Preemptions: 1,
		Batches: 3, BatchedCalls: 9,
	})
	request := httptest.NewRequest("INVENTED", "/no/such/path", nil)
	telemetry.Middleware(http.NewServeMux()).ServeHTTP(httptest.NewRecorder(), request)
	return telemetry
}

// watchOnce leaves the engine watched, and returns once its answer is there.
func watchOnce(t *testing.T, telemetry *Telemetry, stats *enginev1.EngineStats) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		telemetry.WatchEngine(ctx, "rust", func(context.Context) (*enginev1.EngineStats, error) { return stats, nil })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for deadline := time.Now().Add(5 * time.Second); telemetry.LastStats("rust") == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the engine was not asked")
		}
	}
}

func TestMetricsHaveTheNamesThatVLLMsAndTritonsUsersKnow(t *testing.T) {
	telemetry := exercised(t)
	for _, format := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
		metrics := scrape(t, telemetry, format)
		for _, line := range []string{
			`vllm:num_requests_running{engine="rust"} 1`,
			`vllm:num_requests_waiting{engine="rust"} 2`,
			`vllm:kv_cache_usage_perc{engine="rust"} 0.25`,
			`vllm:prompt_tokens_total{model_name="smollm2"} 7`,
			`vllm:generation_tokens_total{model_name="smollm2"} 3`,
			`vllm:time_to_first_token_seconds_count{model_name="smollm2"} 1`,
			`vllm:inter_token_latency_seconds_count{model_name="smollm2"} 2`,
			`vllm:request_time_per_output_token_seconds_count{model_name="smollm2"} 1`,
			`vllm:e2e_request_latency_seconds_count{model_name="smollm2"} 1`,
			`vllm:request_success_total{finished_reason="length",model_name="smollm2"} 1`,
			`vllm:prefix_cache_queries_total{engine="rust"} 10`,
			`vllm:prefix_cache_hits_total{engine="rust"} 5`,
			`vllm:num_preemptions_total{engine="rust"} 1`,
			`nv_inference_request_success{model="smollm2",version="1"} 1`,
			`nv_inference_request_failure{model="minilm",reason="REJECTED",version="2"} 1`,
			`nv_inference_count{model="minilm",version="2"} 8`,
			`nv_inference_exec_count{model="minilm",version="2"} 1`,
			`nv_inference_request_duration_us{model="smollm2",version="1"} `,
			`nv_inference_queue_duration_us{model="smollm2",version="1"} 2000`,
			`treeline_pool_ipc_copied_bytes_total{transport="shm"} 4096`,
			`treeline_pool_worker_restarts_total 1`,
			`treeline_pool_draining 1`,
			`treeline_pool_jobs_total{state="succeeded"} 1`,
			`treeline_pool_dead_letters_total{reason="poison"} 1`,
			`treeline_pool_operation_failures_total{model_name="minilm",operation="embeddings",reason="overloaded"} 1`,
			`treeline_pool_operations_in_flight{model_name="smollm2"} 0`,
			`treeline_pool_http_requests_total{code="404",method="_OTHER",route="unmatched"} 1`,
		} {
			// OpenMetrics writes 1 as 1.0.
			pattern := regexp.QuoteMeta(line) + `(\.0)?`
			if !regexp.MustCompile(`(?m)^` + pattern).MatchString(metrics) {
				t.Errorf("%s has no line %s", format, line)
			}
		}
	}
}

func TestExemplarsLeadToTheTrace(t *testing.T) {
	telemetry := exercised(t)
	exemplar := `vllm:time_to_first_token_seconds_bucket{model_name="smollm2",le=`
	found := false
	for line := range strings.Lines(scrape(t, telemetry, "application/openmetrics-text; version=1.0.0")) {
		found = found || strings.HasPrefix(line, exemplar) && strings.Contains(line, `# {trace_id="`+callerTrace+`"}`)
	}
	if !found {
		t.Error("the time to first token has no exemplar")
	}
	if strings.Contains(scrape(t, telemetry, "text/plain"), "trace_id") {
		t.Error("Prometheus' text has no place for exemplars")
	}
}

// promtool finds nothing wrong but what the names of others bring along.
func TestPromtoolHasNothingToSayAboutThePoolsOwnMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing")
		}
		t.Skip("promtool is missing: apt-get install prometheus")
	}
	command := exec.Command(promtool, "check", "metrics")
	command.Stdin = strings.NewReader(scrape(t, exercised(t), "text/plain"))
	output, err := command.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(output)) {
		isKnown := strings.Contains(line, "should not contain ':'") && strings.HasPrefix(line, "vllm:") ||
			strings.HasPrefix(line, "nv_inference_")
		if !isKnown {
			t.Errorf("promtool: %s", line)
		}
	}
}

func TestLabelsAreBoundedHoweverManyModelsThereAre(t *testing.T) {
	telemetry := newTelemetry(t, Options{})
	for number := range modelsMax * 2 {
		_, operation := telemetry.Start(t.Context(), Call{Kind: Infer, Model: fmt.Sprint("model-", number), Version: "1"})
		operation.End(Outcome{})
	}
	metrics := scrape(t, telemetry, "")
	if lines := strings.Count(metrics, "nv_inference_request_success{"); lines != modelsMax+1 {
		t.Errorf("%d models have labels", lines)
	}
	if !strings.Contains(metrics, fmt.Sprintf(`nv_inference_request_success{model="other",version=""} %d`, modelsMax)) {
		t.Error("the others are not counted together")
	}
}

func TestTimeBetweenTokensIsCountedByChoice(t *testing.T) {
	telemetry := newTelemetry(t, Options{})
	_, operation := telemetry.Start(t.Context(), Call{Kind: Chat, Model: "m"})
	for range 3 {
		for choice := range uint32(4) {
			operation.Piece(choice, 1)
		}
	}
	operation.Piece(0, 0)
	operation.Piece(choicesMax, 1)
	operation.End(Outcome{})
	metrics := scrape(t, telemetry, "")
	// Of each choice's three tokens, two follow another.
	if !strings.Contains(metrics, `vllm:inter_token_latency_seconds_count{model_name="m"} 8`) {
		t.Error("not 8 times between tokens")
	}
	if !strings.Contains(metrics, `vllm:time_to_first_token_seconds_count{model_name="m"} 1`) {
		t.Error("not one first token")
	}
}

func TestAnEngineThatDoesNotAnswerIsForgottenWhenItIsNotWatched(t *testing.T) {
	telemetry := newTelemetry(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	telemetry.WatchEngine(ctx, "gone", func(context.Context) (*enginev1.EngineStats, error) {
		asked++
		cancel()
		return nil, errors.New("gone")
	})
	if asked != 1 || telemetry.LastStats("gone") != nil {
		t.Errorf("asked %d times, %v", asked, telemetry.LastStats("gone"))
	}
}

func TestTheMiddlewareCountsBrokenAndStreamedAnswers(t *testing.T) {
	telemetry := newTelemetry(t, Options{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", func(response http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(response, "first")
		response.(http.Flusher).Flush()
		_, _ = io.WriteString(response, "second")
	})
	mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("GET /teapot/{id}", func(response http.ResponseWriter, _ *http.Request) {
		response.WriteHeader(http.StatusEarlyHints)
		response.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(response, "short and stout")
	})
	server := httptest.NewServer(telemetry.Middleware(mux))
	defer server.Close()
	for _, path := range []string{"/stream", "/teapot/1", "/teapot/2"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if response, err := http.Get(server.URL + "/broken"); err == nil {
		response.Body.Close()
		t.Error("a broken answer came")
	}
	metrics := scrape(t, telemetry, "")
	for _, line := range []string{
		`treeline_pool_http_requests_total{code="200",method="GET",route="/stream"} 1`,
		`treeline_pool_http_requests_total{code="418",method="GET",route="/teapot/{id}"} 2`,
		`treeline_pool_http_request_duration_seconds_count{method="GET",route="/broken"} `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no line %s", line)
		}
	}
}
