package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/models/modelstest"
)

// server answers for the provider until the test ends.
func server(t *testing.T, provider *modelstest.Provider) *httptest.Server {
	t.Helper()
	provider.ProviderName = "test"
	newID := func() string { return "id" }
	catalogue, err := models.NewCatalogue(models.Options{Providers: []models.Provider{provider}, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	now := time.Unix(1_700_000_000, 0)
	(&Door{
		Models: catalogue, Bounds: door.Bounds{BodyBytesMax: 1 << 20}, StartedAt: now,
		Now: func() time.Time { return now }, NewID: newID,
	}).Mount(mux)
	started := httptest.NewServer(door.WithDeadline(mux))
	t.Cleanup(started.Close)
	return started
}

func post(t *testing.T, url, body string) (int, http.Header, string) {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// same compares JSON by its meaning.
func same(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("not JSON: %s", got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	if !bytes.Equal(left, right) {
		t.Errorf("got  %s\nwant %s", left, right)
	}
}

func events(text string) []string {
	var list []string
	for _, event := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		list = append(list, strings.TrimPrefix(event, "data: "))
	}
	return list
}

const chatBody = `{"model":"echo-chat","messages":[{"role":"user","content":"one two"}]`

func TestAChatAnswersInOpenAIsForm(t *testing.T) {
	status, _, body := post(t, server(t, &modelstest.Provider{}).URL+"/v1/chat/completions", chatBody+`}`)
	if status != 200 {
		t.Fatal(status, body)
	}
	same(t, body, `{"id":"chatcmpl-id","object":"chat.completion","created":1700000000,"model":"echo-chat",
		"choices":[{"index":0,"message":{"role":"assistant","content":"one two","refusal":null},"logprobs":null,
		"finish_reason":"stop"}],
		"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}`)
}

func TestAChatStreamsRoleThenTextThenUsageThenDone(t *testing.T) {
	_, header, body := post(t, server(t, &modelstest.Provider{}).URL+"/v1/chat/completions",
		chatBody+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if kind := header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Error(kind)
	}
	head := `{"id":"chatcmpl-id","object":"chat.completion.chunk","created":1700000000,"model":"echo-chat",`
	got := events(body)
	want := []string{
		head + `"usage":null,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`,
		head + `"usage":null,"choices":[{"index":0,"delta":{"content":"one "},"logprobs":null,"finish_reason":null}]}`,
		head + `"usage":null,"choices":[{"index":0,"delta":{"content":"two"},"logprobs":null,"finish_reason":"stop"}]}`,
		head + `"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}`,
	}
	if len(got) != 5 || got[4] != "[DONE]" {
		t.Fatalf("%d events: %q", len(got), got)
	}
	for index, event := range want {
		same(t, got[index], event)
	}
}

// tooled is a chat with one tool, which the model answers by what the user said.
func tooled(said, more string) string {
	text, _ := json.Marshal(said)
	return `{"model":"echo-chat","messages":[{"role":"user","content":` + string(text) + `}],
		"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]` + more + `}`
}

func TestACallOfAToolIsTakenOutOfTheText(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL + "/v1/chat/completions"
	_, _, body := post(t, url, tooled(`Yes. <tool_call> {"name": "f", "arguments": {"a": 1}} </tool_call>`, ""))
	var whole struct{ Choices json.RawMessage }
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatal(err)
	}
	same(t, string(whole.Choices), `[{"index":0,"message":{"role":"assistant","content":"Yes.","refusal":null,
		"tool_calls":[{"id":"call_id","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
		"logprobs":null,"finish_reason":"tool_calls"}]`)
	_, _, body = post(t, url, tooled(`<tool_call> {"name": "f", "arguments": {"a": 1}} </tool_call>`, `,"stream":true`))
	got := events(body)
	if len(got) != 4 || !strings.Contains(got[1], `"delta":{"tool_calls":[{"index":0,"id":"call_id","type":"function"`) ||
		!strings.Contains(got[2], `"delta":{},"logprobs":null,"finish_reason":"tool_calls"`) {
		t.Errorf("%q", got)
	}
}

func TestAToolThatMustBeCalledConstrainsTheText(t *testing.T) {
	provider := &modelstest.Provider{}
	url := server(t, provider).URL + "/v1/chat/completions"
	for choice, schema := range map[string]string{
		`"auto"`: "", `"none"`: "", `"required"`: `"const":"f"`, `{"type":"function","function":{"name":"f"}}`: `"const":"f"`,
	} {
		status, _, body := post(t, url, tooled("Hi", `,"tool_choice":`+choice))
		request := provider.Last.Load()
		if status != 200 || !strings.Contains(request.GetJsonSchema(), schema) || (schema == "") != (request.GetJsonSchema() == "") {
			t.Errorf("%s: %d %s, %q", choice, status, body, request.GetJsonSchema())
		}
		if (choice == `"none"`) != (request.GetToolsJson() == "") {
			t.Errorf("%s: tools %q", choice, request.GetToolsJson())
		}
	}
}

func TestChoicesStreamSideBySide(t *testing.T) {
	_, _, body := post(t, server(t, &modelstest.Provider{}).URL+"/v1/chat/completions", chatBody+`,"stream":true,"n":3}`)
	texts := map[int]string{}
	for _, event := range events(body) {
		var chunk chatChunk
		if event == "[DONE]" || json.Unmarshal([]byte(event), &chunk) != nil {
			continue
		}
		for _, choice := range chunk.Choices {
			texts[choice.Index] += *choice.Delta.Content
		}
	}
	if len(texts) != 3 || texts[0] != "one two" || texts[2] != "one two" {
		t.Error(texts)
	}
}

func TestLogprobsComeInTheFormOfEachAddress(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL
	_, _, chat := post(t, url+"/v1/chat/completions", chatBody+`,"logprobs":true,"top_logprobs":1,"max_tokens":1}`)
	var whole struct {
		Choices []struct {
			Logprobs json.RawMessage `json:"logprobs"`
			Finish   string          `json:"finish_reason"`
		} `json:"choices"`
	}
	if err := json.Unmarshal([]byte(chat), &whole); err != nil {
		t.Fatal(err)
	}
	same(t, string(whole.Choices[0].Logprobs), `{"content":[{"token":"one ","logprob":-0.5,"bytes":[111,110,101,32],
		"top_logprobs":[{"token":"one 0","logprob":-0.5,"bytes":[111,110,101,32,48]}]}],"refusal":null}`)
	if whole.Choices[0].Finish != "length" {
		t.Error(whole.Choices[0].Finish)
	}
	_, _, text := post(t, url+"/v1/completions", `{"model":"echo-chat","prompt":"é two","logprobs":1}`)
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	same(t, string(whole.Choices[0].Logprobs), `{"tokens":["é ","two"],"token_logprobs":[-0.5,-0.5],
		"top_logprobs":[{"é 0":-0.5},{"two0":-0.5}],"text_offset":[0,2]}`)
}

func TestEveryFieldReachesTheModel(t *testing.T) {
	provider := &modelstest.Provider{}
	status, _, body := post(t, server(t, provider).URL+"/v1/chat/completions", chatBody+`,"temperature":0.5,"top_p":0.9,
		"top_k":40,"min_p":0.1,"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.1,"seed":-1,
		"logit_bias":{"5":-100},"stop":"END","max_completion_tokens":9,"max_tokens":3,"ignore_eos":true,
		"cache_salt":"s","tools":[{"type":"function","function":{"name":"f"}}],
		"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"string"}}}}`)
	if status != 200 {
		t.Fatal(status, body)
	}
	request := provider.Last.Load()
	sampling := request.GetSampling()
	if sampling.GetTemperature() != 0.5 || sampling.GetTopP() != 0.9 || sampling.GetTopK() != 40 ||
		sampling.GetMinP() != 0.1 || sampling.GetPresencePenalty() != 1 || sampling.GetFrequencyPenalty() != -1 ||
		sampling.GetRepetitionPenalty() != 1.1 || sampling.GetSeed() != 1<<64-1 || sampling.GetLogitBias()[5] != -100 {
		t.Error(sampling)
	}
	if request.GetStop()[0] != "END" || request.GetMaxTokens() != 9 || !request.GetIgnoreEos() ||
		request.GetCacheSalt() != "s" || request.GetToolsJson() != `[{"type":"function","function":{"name":"f"}}]` ||
		request.GetJsonSchema() != `{"type":"string"}` {
		t.Error(request)
	}
}

func TestABadRequestNamesItsField(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL
	for _, test := range []struct{ path, body, param string }{
		{"chat/completions", `{"messages":[{"role":"user","content":"a"}]}`, "model"},
		{"chat/completions", `{"model":"echo-chat","messages":[]}`, "messages"},
		{"chat/completions", `{"model":"echo-chat","messages":[{"role":"king","content":"a"}]}`, "messages.0.role"},
		{"chat/completions", `{"model":"echo-chat","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, "messages"},
		{"chat/completions", chatBody + `,"temperature":3}`, "temperature"},
		{"chat/completions", chatBody + `,"temperature":"hot"}`, "temperature"},
		{"chat/completions", chatBody + `,"top_p":0}`, "top_p"},
		{"chat/completions", chatBody + `,"n":0}`, "n"},
		{"chat/completions", chatBody + `,"n":17}`, "n"},
		{"chat/completions", chatBody + `,"max_tokens":0}`, "max_tokens"},
		{"chat/completions", chatBody + `,"stop":[""]}`, "stop"},
		{"chat/completions", chatBody + `,"stop":7}`, "stop"},
		{"chat/completions", chatBody + `,"top_logprobs":2}`, "top_logprobs"},
		{"chat/completions", chatBody + `,"logit_bias":{"a":1}}`, "logit_bias"},
		{"chat/completions", chatBody + `,"response_format":{"type":"xml"}}`, "response_format.type"},
		{"chat/completions", chatBody + `,"tools":{}}`, "tools"},
		{"chat/completions", chatBody + `,"tools":[{"type":"function","function":{"name":"a b"}}]}`, "tools.0"},
		{"chat/completions", tooled("a", `,"tool_choice":"any"`), "tool_choice"},
		{"chat/completions", tooled("a", `,"tool_choice":{"type":"function","function":{"name":"g"}}`), "tool_choice"},
		{"chat/completions", chatBody + `,"tool_choice":"required"}`, "tool_choice"},
		{"chat/completions", tooled("a", `,"tool_choice":"required","response_format":{"type":"json_object"}`), "response_format"},
		{"completions", `{"model":"echo-chat"}`, "prompt"},
		{"completions", `{"model":"echo-chat","prompt":"a","suffix":"b"}`, "suffix"},
		{"completions", `{"model":"echo-chat","prompt":[[]]}`, "prompt"},
		{"completions", `{"model":"echo-chat","prompt":[1.5]}`, "prompt"},
		{"embeddings", `{"model":"lengths","input":""}`, "input.0"},
		{"embeddings", `{"model":"lengths","input":[]}`, "input"},
		{"embeddings", `{"model":"lengths","input":{}}`, "input"},
		{"embeddings", `{"model":"lengths","input":"a","encoding_format":"hex"}`, "encoding_format"},
		{"embeddings", `{"model":"lengths","input":"a","dimensions":0}`, "dimensions"},
		{"rerank", `{"model":"lengths","query":"q","documents":[]}`, "documents"},
		{"rerank", `{"model":"lengths","query":"","documents":["a"]}`, "query"},
		{"rerank", `{"model":"lengths","query":"q","documents":[7]}`, "documents"},
		{"embeddings", `{`, ""},
		{"embeddings", strings.Repeat("[", 65) + strings.Repeat("]", 65), ""},
	} {
		status, _, body := post(t, url+"/v1/"+test.path, test.body)
		var failure struct {
			Error struct {
				Message, Type, Code string
				Param               *string
			}
		}
		if err := json.Unmarshal([]byte(body), &failure); err != nil {
			t.Fatal(err, body)
		}
		param := ""
		if failure.Error.Param != nil {
			param = *failure.Error.Param
		}
		if status != 400 || param != test.param || failure.Error.Type != "invalid_request_error" ||
			failure.Error.Code != "invalid_request" || failure.Error.Message == "" {
			t.Errorf("%s %s: %d %s", test.path, test.body, status, body)
		}
	}
}

func TestAnEnginesStatusBecomesAnHTTPStatus(t *testing.T) {
	for status, want := range map[enginev1.Status]int{
		enginev1.Status_STATUS_OVERLOADED: 429, enginev1.Status_STATUS_UNAVAILABLE: 503,
		enginev1.Status_STATUS_DEADLINE_EXCEEDED: 504, enginev1.Status_STATUS_UNSUPPORTED: 501,
		enginev1.Status_STATUS_MEMORY_EXCEEDED: 507, enginev1.Status_STATUS_INTERNAL: 500,
	} {
		provider := &modelstest.Provider{Fail: &engine.Error{Status: status, Message: "Why."}}
		url := server(t, provider).URL
		for _, body := range []string{chatBody + `}`, chatBody + `,"stream":true}`} {
			got, header, text := post(t, url+"/v1/chat/completions", body)
			hasRetry := header.Get("Retry-After") != ""
			if got != want || !strings.Contains(text, `"message":"Why."`) || hasRetry != (want == 429 || want == 503) {
				t.Errorf("%v: %d %v %s", status, got, header, text)
			}
		}
	}
}

func TestAFailureInTheMiddleOfAStreamIsAnEvent(t *testing.T) {
	provider := &modelstest.Provider{
		Fail:      &engine.Error{Status: enginev1.Status_STATUS_ENGINE_CRASHED, Message: "The worker died."},
		FailAfter: 1,
	}
	status, _, body := post(t, server(t, provider).URL+"/v1/chat/completions", chatBody+`,"stream":true}`)
	got := events(body)
	if status != 200 || len(got) != 4 || got[3] != "[DONE]" || !strings.Contains(got[2], `"code":"engine_crashed"`) {
		t.Errorf("%d %q", status, got)
	}
}

func TestAClientThatGoesCancelsItsGeneration(t *testing.T) {
	provider := &modelstest.Provider{Wait: 10 * time.Millisecond}
	url := server(t, provider).URL
	ctx, cancel := context.WithCancel(context.Background())
	long := strings.Repeat("word ", 10_000)
	body := `{"model":"echo-chat","stream":true,"messages":[{"role":"user","content":"` + long + `"}]}`
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", strings.NewReader(body))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 500 {
		if provider.Cancelled.Load() == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the generation goes on")
}

func TestAClientsDeadlineEndsItsCall(t *testing.T) {
	provider := &modelstest.Provider{Wait: time.Minute}
	request, _ := http.NewRequest(http.MethodPost, server(t, provider).URL+"/v1/chat/completions",
		strings.NewReader(chatBody+`}`))
	request.Header.Set(door.DeadlineHeader, "30")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusGatewayTimeout {
		t.Error(answer.Status)
	}
	request.Header.Set(door.DeadlineHeader, "soon")
	request.Body = io.NopCloser(strings.NewReader(chatBody + `}`))
	if answer, err = http.DefaultClient.Do(request); err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Error(answer, err)
	}
}

func TestSeveralPromptsAnswerInTheirOrder(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL
	_, _, body := post(t, url+"/v1/completions", `{"model":"echo-chat","prompt":["a","b"],"n":2}`)
	var whole completion
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for index, choice := range whole.Choices {
		if choice.Index != index {
			t.Error(choice)
		}
		texts = append(texts, choice.Text)
	}
	if strings.Join(texts, "") != "aabb" {
		t.Error(texts)
	}
	_, _, body = post(t, url+"/v1/completions", `{"model":"echo-chat","prompt":[[1,2],[3]],"stream":true}`)
	if got := events(body); len(got) != 4 || got[3] != "[DONE]" || !strings.Contains(body, `"text":"[3]"`) {
		t.Errorf("%q", got)
	}
}

func TestEmbeddingsAsNumbersAndAsBase64(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL
	status, _, body := post(t, url+"/v1/embeddings", `{"model":"lengths","input":["abc","a"]}`)
	if status != 200 {
		t.Fatal(status, body)
	}
	var numbers struct {
		Data  []struct{ Embedding []float32 }
		Usage embeddingUsage
	}
	if err := json.Unmarshal([]byte(body), &numbers); err != nil {
		t.Fatal(err)
	}
	if len(numbers.Data) != 2 || len(numbers.Data[0].Embedding) != 4 || numbers.Usage.PromptTokens != 4 {
		t.Error(body)
	}
	_, _, body = post(t, url+"/v1/embeddings", `{"model":"lengths","input":[[7,8,9]],"encoding_format":"base64"}`)
	var encoded struct{ Data []struct{ Embedding string } }
	if err := json.Unmarshal([]byte(body), &encoded); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded.Data[0].Embedding)
	if err != nil || Floats(raw)[0] != numbers.Data[0].Embedding[0] {
		t.Error(raw, err)
	}
}

func TestRerankGivesTheBestFirst(t *testing.T) {
	_, _, body := post(t, server(t, &modelstest.Provider{}).URL+"/v1/rerank",
		`{"model":"lengths","query":"q","documents":["a",{"text":"abc"},"ab"],"top_n":2,"return_documents":true}`)
	same(t, body, `{"id":"rerank-id","object":"list","model":"lengths","usage":{"prompt_tokens":7,"total_tokens":7},
		"results":[{"index":1,"relevance_score":3,"document":{"text":"abc"}},
		{"index":2,"relevance_score":2,"document":{"text":"ab"}}]}`)
}

func TestWhatIsNotThereIsSaidInOpenAIsDialect(t *testing.T) {
	url := server(t, &modelstest.Provider{}).URL
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/v1/nothing": {404, "route_not_found"}, "/v1/chat/completions": {405, "method_not_allowed"},
		"/v1/models/none": {404, "model_not_found"}, "/v1/models/identity": {200, ""},
	} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != want.status || want.code != "" && !strings.Contains(string(text), `"code":"`+want.code+`"`) {
			t.Errorf("%s: %s %s", path, answer.Status, text)
		}
	}
	status, _, body := post(t, url+"/v1/embeddings", `{"model":"none","input":"a"}`)
	if status != 404 || !strings.Contains(body, "model_not_found") {
		t.Error(status, body)
	}
	status, _, body = post(t, url+"/v1/embeddings", `{"model":"lengths","input":"`+strings.Repeat("a", 1<<20)+`"}`)
	if status != 413 || !strings.Contains(body, "body_too_large") {
		t.Error(status, body)
	}
}
