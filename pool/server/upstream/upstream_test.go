package upstream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// An engine that speaks as its kind's documentation says, so far as a test needs it.
func serve(test *testing.T, kind Kind, routes map[string]http.HandlerFunc) *Provider {
	test.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, handler)
	}
	server := httptest.NewServer(mux)
	test.Cleanup(server.Close)
	provider, err := New(Configuration{Name: "one", Kind: kind, URL: server.URL, HeadTimeoutSeconds: 1}, "secret", time.Now)
	if err != nil {
		test.Fatal(err)
	}
	return provider
}

func text(body string) http.HandlerFunc {
	return func(writer http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(writer, body) }
}

func statusOf(err error) enginev1.Status {
	var known *engine.Error
	if errors.As(err, &known) {
		return known.Status
	}
	return enginev1.Status_STATUS_OK
}

func TestEachKindsModelsAndLoadAreRead(test *testing.T) {
	for kind, expected := range map[Kind]struct {
		routes       map[string]http.HandlerFunc
		model        string
		capabilities []string
		running      uint32
		waiting      uint32
		context      uint32
	}{
		VLLM: {map[string]http.HandlerFunc{
			"/health":    text(""),
			"/v1/models": text(`{"data": [{"id": "llama", "max_model_len": 8192}]}`),
			"/metrics": text("# HELP vllm:num_requests_running x\nvllm:num_requests_running{engine=\"0\",model_name=\"a } b\"} 3.0\n" +
				"vllm:num_requests_waiting{engine=\"0\"} 2.0\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n"),
		}, "llama", []string{"generate", "embed", "rerank"}, 3, 2, 8192},
		TEI: {map[string]http.HandlerFunc{
			"/health":  text(""),
			"/info":    text(`{"model_id": "bge", "max_input_length": 512, "model_type": {"reranker": {"id2label": {}}}}`),
			"/metrics": text("te_queue_size 4\n"),
		}, "bge", []string{"rerank"}, 0, 4, 512},
		Triton: {map[string]http.HandlerFunc{
			"/v2/health/ready":          text(""),
			"POST /v2/repository/index": text(`[{"name": "net", "version": "1", "state": "READY"}]`),
			"/v2/models/net/versions/1": text(`{"versions": ["1"], "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]}`),
			"/metrics":                  text("nv_inference_pending_request_count{model=\"net\",version=\"1\"} 5\n"),
		}, "net", []string{"infer"}, 0, 5, 0},
		Ollama: {map[string]http.HandlerFunc{
			"/api/version": text(`{"version": "0.9"}`),
			"/api/tags":    text(`{"models": [{"name": "qwen:0.5b"}]}`),
			"/api/ps":      text(`{"models": [{"name": "qwen:0.5b", "size": 400}]}`),
		}, "qwen:0.5b", []string{"generate", "embed"}, 0, 0, 0},
		LlamaCPP: {map[string]http.HandlerFunc{
			"/health":    text(`{"status": "ok"}`),
			"/v1/models": text(`{"data": [{"id": "gguf", "meta": {"n_ctx_train": 2048}}]}`),
			"/metrics":   text("llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n"),
		}, "gguf", []string{"generate", "embed", "rerank"}, 1, 2, 2048},
	} {
		test.Run(string(kind), func(test *testing.T) {
			provider := serve(test, kind, expected.routes)
			listed, err := provider.Models(test.Context())
			if err != nil || len(listed) != 1 {
				test.Fatalf("listed %v, %v", listed, err)
			}
			model := listed[0]
			if model.Name != expected.model || model.State != v1.ModelState_MODEL_STATE_READY || model.Backend != string(kind) ||
				!slices.Equal(model.Capabilities, expected.capabilities) || model.ContextLength != expected.context {
				test.Errorf("model %v", model)
			}
			load, _ := provider.NodeLoad(test.Context())
			if load.Running != expected.running || load.Waiting != expected.waiting {
				test.Errorf("load %v", load)
			}
		})
	}
}

func TestAnEngineThatWentAwayKeepsItsModelsListedWithTheReason(test *testing.T) {
	healthy := true
	provider := serve(test, VLLM, map[string]http.HandlerFunc{
		"/health": func(writer http.ResponseWriter, _ *http.Request) {
			if !healthy {
				writer.WriteHeader(http.StatusServiceUnavailable)
			}
		},
		"/v1/models": text(`{"data": [{"id": "llama"}]}`),
	})
	now := time.Unix(0, 0)
	provider.now = func() time.Time { return now }
	if listed, _ := provider.Models(test.Context()); listed[0].State != v1.ModelState_MODEL_STATE_READY {
		test.Fatalf("listed %v", listed)
	}
	healthy, now = false, now.Add(stateAge)
	listed, _ := provider.Models(test.Context())
	if len(listed) != 1 || listed[0].State != v1.ModelState_MODEL_STATE_FAILED || listed[0].Reason == "" {
		test.Errorf("listed %v", listed)
	}
}

// chat answers one streamed chat and keeps what it was asked.
func chat(asked *map[string]any, authorization *string, events ...string) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		_ = json.NewDecoder(request.Body).Decode(asked)
		*authorization = request.Header.Get("Authorization")
		for _, event := range events {
			_, _ = fmt.Fprintf(writer, "data: %s\n\n", event)
		}
	}
}

func TestAChatStreamsWithItsUsageAtTheEnd(test *testing.T) {
	var asked map[string]any
	var authorization string
	provider := serve(test, VLLM, map[string]http.HandlerFunc{"POST /v1/chat/completions": chat(&asked, &authorization,
		`{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}`,
		`{"choices": [{"index": 0, "delta": {"content": "Grüße"}, "logprobs": {"content": [{"token": "Grüße", "logprob": -0.5, "top_logprobs": [{"token": "Hi", "logprob": -1}]}]}}]}`,
		`{"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]}`,
		`{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}`,
		`[DONE]`,
	)})
	seed, temperature, tokens, top := uint64(7), float32(0.5), uint32(2), uint32(1)
	var got []*v1.GenerateResponse
	err := provider.Generate(test.Context(), &v1.GenerateRequest{
		Model: "llama", Messages: []*v1.Message{{Role: "user", Content: "hello"}},
		Sampling:  &v1.Sampling{Seed: &seed, Temperature: &temperature, LogitBias: map[uint32]float32{5: -100}},
		MaxTokens: &tokens, Stop: []string{"\n"}, JsonSchema: `{"type": "object"}`, TopLogprobs: &top,
	}, func(response *v1.GenerateResponse) error {
		got = append(got, response)
		return nil
	})
	if err != nil {
		test.Fatal(err)
	}
	if len(got) != 3 || got[0].Text != "Grüße" || got[0].Model != "llama" || got[1].FinishReason != v1.FinishReason_FINISH_REASON_LENGTH {
		test.Errorf("got %v", got)
	}
	if got[0].Logprobs[0].Logprob != -0.5 || string(got[0].Logprobs[0].Top[0].Piece) != "Hi" {
		test.Errorf("logprobs %v", got[0].Logprobs)
	}
	if usage := got[2].Usage; usage.PromptTokens != 7 || usage.CompletionTokens != 2 || usage.CachedTokens != 4 {
		test.Errorf("usage %v", usage)
	}
	if authorization != "Bearer secret" || asked["seed"] != 7.0 || asked["temperature"] != 0.5 || asked["max_tokens"] != 2.0 ||
		asked["logit_bias"].(map[string]any)["5"] != -100.0 || asked["response_format"].(map[string]any)["type"] != "json_schema" {
		test.Errorf("asked %v with %q", asked, authorization)
	}
}

func TestAStreamThatBreaksOffOrFailsIsAnError(test *testing.T) {
	for name, events := range map[string][]string{
		"breaks off": {`{"choices": [{"index": 0, "delta": {"content": "a"}}]}`},
		"fails":      {`{"error": {"message": "out of memory at 0x7f"}}`},
		"no JSON":    {`{{{`},
		// As llama.cpp's server for Python does where another call interrupts the stream.
		"is interrupted": {
			`{"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": null}]}`,
			`{"choices": [{"index": 0, "delta": {"content": "é"}, "finish_reason": null}]}`, `[DONE]`,
		},
		"is interrupted in one of two choices": {
			`{"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}`,
			`{"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}`, `[DONE]`,
		},
	} {
		var asked map[string]any
		var authorization string
		provider := serve(test, LlamaCPP, map[string]http.HandlerFunc{"POST /v1/chat/completions": chat(&asked, &authorization, events...)})
		err := provider.Generate(test.Context(), &v1.GenerateRequest{Model: "m"}, func(*v1.GenerateResponse) error { return nil })
		if statusOf(err) != enginev1.Status_STATUS_UNAVAILABLE || strings.Contains(err.Error(), "0x7f") {
			test.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEngineThatTellsNoUsageHasNone(test *testing.T) {
	var asked map[string]any
	var authorization string
	provider := serve(test, LlamaCPP, map[string]http.HandlerFunc{"POST /v1/chat/completions": chat(&asked, &authorization,
		`{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}`, `[DONE]`)})
	var last *v1.GenerateResponse
	err := provider.Generate(test.Context(), &v1.GenerateRequest{Model: "m"}, func(response *v1.GenerateResponse) error {
		last = response
		return nil
	})
	if err != nil || last.Usage != nil {
		test.Errorf("%v, %v", last, err)
	}
}

func TestModelsAreNotListedWhileLlamaCPPStreams(test *testing.T) {
	lists := 0
	provider := serve(test, LlamaCPP, map[string]http.HandlerFunc{
		// Without /health, as the server for Python is.
		"/v1/models": func(writer http.ResponseWriter, _ *http.Request) {
			lists++
			_, _ = io.WriteString(writer, `{"data": [{"id": "gguf"}]}`)
		},
		"POST /v1/chat/completions": text("data: {\"choices\": [{\"delta\": {\"content\": \"a\"}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n"),
	})
	now := time.Unix(0, 0)
	provider.now = func() time.Time { return now }
	list := func() {
		now = now.Add(stateAge)
		if listed, _ := provider.Models(test.Context()); len(listed) != 1 || listed[0].State != v1.ModelState_MODEL_STATE_READY {
			test.Errorf("listed %v", listed)
		}
	}
	list()
	err := provider.Generate(test.Context(), &v1.GenerateRequest{Model: "gguf"}, func(*v1.GenerateResponse) error {
		list()
		return nil
	})
	if err != nil || lists != 1 {
		test.Errorf("%d lists during the stream, %v", lists, err)
	}
	if list(); lists != 2 {
		test.Errorf("%d lists after the stream", lists)
	}
}

func TestWhatTheCallerReturnsEndsTheStream(test *testing.T) {
	gone := make(chan struct{})
	provider := serve(test, Ollama, map[string]http.HandlerFunc{
		"POST /v1/chat/completions": func(writer http.ResponseWriter, request *http.Request) {
			_, _ = io.WriteString(writer, "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n")
			writer.(http.Flusher).Flush()
			<-request.Context().Done()
			close(gone)
		},
	})
	stop := errors.New("enough")
	err := provider.Generate(test.Context(), &v1.GenerateRequest{Model: "m"}, func(*v1.GenerateResponse) error { return stop })
	if !errors.Is(err, stop) {
		test.Errorf("error %v", err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		test.Error("the engine went on")
	}
}

func TestAnEnginesStatusBecomesOurs(test *testing.T) {
	for status, expected := range map[int]enginev1.Status{
		400: enginev1.Status_STATUS_INVALID_ARGUMENT, 401: enginev1.Status_STATUS_UNAVAILABLE,
		302: enginev1.Status_STATUS_UNAVAILABLE, 404: enginev1.Status_STATUS_MODEL_NOT_FOUND,
		429: enginev1.Status_STATUS_OVERLOADED, 500: enginev1.Status_STATUS_UNAVAILABLE,
		504: enginev1.Status_STATUS_DEADLINE_EXCEEDED,
	} {
		provider := serve(test, TEI, map[string]http.HandlerFunc{"POST /v1/embeddings": func(writer http.ResponseWriter, _ *http.Request) {
			writer.Header().Set("Location", "http://127.0.0.1:1/")
			writer.WriteHeader(status)
		}})
		_, err := provider.Embed(test.Context(), &v1.EmbedRequest{Model: "m", Texts: []string{"a"}})
		if statusOf(err) != expected {
			test.Errorf("%d became %v", status, err)
		}
	}
}

func TestAnEngineThatNeverAnswersIsGivenUp(test *testing.T) {
	release := make(chan struct{})
	provider := serve(test, VLLM, map[string]http.HandlerFunc{"POST /v1/embeddings": func(http.ResponseWriter, *http.Request) { <-release }})
	_, err := provider.Embed(test.Context(), &v1.EmbedRequest{Model: "m", Texts: []string{"a"}})
	close(release)
	if statusOf(err) != enginev1.Status_STATUS_DEADLINE_EXCEEDED {
		test.Errorf("error %v", err)
	}
}

func TestEmbeddingsComeInTheInputsOrderAndNoneIsMissing(test *testing.T) {
	for name, answer := range map[string]struct {
		body string
		ok   bool
	}{
		"numbers": {`{"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]}`, true},
		"base64":  {`{"data": [{"index": 0, "embedding": "AACAPwAAAEA="}, {"index": 1, "embedding": "AABAQAAAgEA="}]}`, true},
		"missing": {`{"data": [{"index": 0, "embedding": [1, 2]}]}`, false},
		"ragged":  {`{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}`, false},
	} {
		provider := serve(test, TEI, map[string]http.HandlerFunc{"POST /v1/embeddings": text(answer.body)})
		response, err := provider.Embed(test.Context(), &v1.EmbedRequest{Model: "m", Texts: []string{"a", "b"}})
		if (err == nil) != answer.ok {
			test.Errorf("%s: %v", name, err)
			continue
		}
		if answer.ok && (response.Dimensions != 2 || len(response.Vectors) != 16 || binary.LittleEndian.Uint32(response.Vectors[12:]) != 0x40800000) {
			test.Errorf("%s: %v", name, response)
		}
	}
}

func TestRankingsAreOrderedAndCut(test *testing.T) {
	for kind, routes := range map[Kind]map[string]http.HandlerFunc{
		TEI:  {"POST /rerank": text(`[{"index": 0, "score": 0.1}, {"index": 2, "score": 0.9}, {"index": 1, "score": 0.5}]`)},
		VLLM: {"POST /v1/rerank": text(`{"results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.5}]}`)},
	} {
		provider := serve(test, kind, routes)
		response, err := provider.Rerank(test.Context(), &v1.RerankRequest{Query: "q", Documents: []string{"a", "b", "c"}, TopN: 2})
		if err != nil || len(response.Results) != 2 || response.Results[0].Index != 2 || response.Results[1].Index != 1 {
			test.Errorf("%s: %v, %v", kind, response, err)
		}
	}
}

func TestTensorsGoToTritonAndBackInBinary(test *testing.T) {
	provider := serve(test, Triton, map[string]http.HandlerFunc{"POST /v2/models/net/infer": func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		var head int
		_, _ = fmt.Sscan(request.Header.Get(lengthHeader), &head)
		// Echoes the input's bytes as the output.
		answer := fmt.Sprintf(`{"id": "7", "model_version": "1", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": %d}}]}`, len(body)-head)
		writer.Header().Set(lengthHeader, fmt.Sprint(len(answer)))
		_, _ = io.WriteString(writer, answer)
		_, _ = writer.Write(body[head:])
	}})
	data := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	response, err := provider.Infer(test.Context(), &v1.InferRequest{
		Model: "net", Id: "7", Inputs: []*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{2}, Data: data}},
	})
	if err != nil || response.Id != "7" || !slices.Equal(response.Outputs[0].Data, data) || response.Outputs[0].Name != "y" {
		test.Errorf("%v, %v", response, err)
	}
}

func TestAnAnswerWithoutOutputsIsJSONAlone(test *testing.T) {
	provider := serve(test, Triton, map[string]http.HandlerFunc{"POST /v2/models/net/infer": text(`{"id": "7", "model_version": "1", "outputs": []}`)})
	response, err := provider.Infer(test.Context(), &v1.InferRequest{Model: "net"})
	if err != nil || response.Id != "7" || len(response.Outputs) != 0 {
		test.Errorf("%v, %v", response, err)
	}
}

func TestABrokenAnswerOfTritonIsRefused(test *testing.T) {
	for name, answer := range map[string]struct{ length, body string }{
		"too long": {"999", "{}"}, "negative": {"-1", "{}"}, "no number": {"two", "{}"},
		"decimal numbers, which were not asked for": {"", `{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]}`},
	} {
		provider := serve(test, Triton, map[string]http.HandlerFunc{"POST /v2/models/net/infer": func(writer http.ResponseWriter, _ *http.Request) {
			if answer.length != "" {
				writer.Header().Set(lengthHeader, answer.length)
			}
			_, _ = io.WriteString(writer, answer.body)
		}})
		if _, err := provider.Infer(test.Context(), &v1.InferRequest{Model: "net"}); statusOf(err) != enginev1.Status_STATUS_UNAVAILABLE {
			test.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileOfUpstreamsSaysWhatIsWrongAndWhere(test *testing.T) {
	for body, expected := range map[string]string{
		`{"upstreams": [{"name": "a", "kind": "vllm", "url": "http://127.0.0.1:8000"}]}`:         "",
		`{"upstreams": [{"name": "A b", "kind": "vllm", "url": "http://127.0.0.1:8000"}]}`:       "upstreams[0]: name",
		`{"upstreams": [{"name": "a", "kind": "magic", "url": "http://127.0.0.1:8000"}]}`:        "upstreams[0]: kind",
		`{"upstreams": [{"name": "a", "kind": "tei", "url": "ftp://127.0.0.1"}]}`:                "upstreams[0]: url",
		`{"upstreams": [{"name": "a", "kind": "tei", "url": "http://user:secret@127.0.0.1"}]}`:   "upstreams[0]: url",
		`{"upstreams": [{"name": "a", "kind": "tei", "url": "http://127.0.0.1", "key": "abc"}]}`: "not a file of upstreams",
	} {
		path := filepath.Join(test.TempDir(), "upstreams.json")
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			test.Fatal(err)
		}
		_, err := Read(path)
		if (expected == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), expected)) {
			test.Errorf("%s: %v", body, err)
		}
	}
}
