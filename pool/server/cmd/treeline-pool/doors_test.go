package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/gen/inference"
	"treeline.dev/pool/gen/inference/inferenceconnect"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/models/modelstest"
)

// protocols are the three that each service is answered by, and the client that speaks each.
func protocols(t *testing.T) map[string]func(string) treelinev1connect.InferenceServiceClient {
	return map[string]func(string) treelinev1connect.InferenceServiceClient{
		"gRPC": func(url string) treelinev1connect.InferenceServiceClient {
			return treelinev1connect.NewInferenceServiceClient(h2c(t), url, connect.WithGRPC())
		},
		"gRPC-Web": func(url string) treelinev1connect.InferenceServiceClient {
			return treelinev1connect.NewInferenceServiceClient(http.DefaultClient, url, connect.WithGRPCWeb())
		},
		"Connect": func(url string) treelinev1connect.InferenceServiceClient {
			return treelinev1connect.NewInferenceServiceClient(http.DefaultClient, url)
		},
		"Connect with JSON": func(url string) treelinev1connect.InferenceServiceClient {
			return treelinev1connect.NewInferenceServiceClient(http.DefaultClient, url, connect.WithProtoJSON())
		},
	}
}

func TestOneServiceAnswersByEachProtocol(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	ctx := context.Background()
	for name, newClient := range protocols(t) {
		t.Run(name, func(t *testing.T) {
			client := newClient(node.url)
			stream, err := client.Generate(ctx, connect.NewRequest(&v1.GenerateRequest{
				Model: modelstest.Chat, Messages: []*v1.Message{{Role: "user", Content: "one two"}},
			}))
			if err != nil {
				t.Fatal(err)
			}
			text, used := "", (*v1.Usage)(nil)
			for stream.Receive() {
				text += stream.Msg().GetText()
				used = stream.Msg().GetUsage()
			}
			if stream.Err() != nil || text != "one two" || used.GetCompletionTokens() != 2 {
				t.Error(text, used, stream.Err())
			}
			embedded, err := client.Embed(ctx, connect.NewRequest(&v1.EmbedRequest{Model: "test", Texts: []string{"a"}}))
			if err != nil || len(embedded.Msg.GetVectors()) != 16 {
				t.Error(embedded, err)
			}
			_, err = client.Embed(ctx, connect.NewRequest(&v1.EmbedRequest{Model: "none", Texts: []string{"a"}}))
			if connect.CodeOf(err) != connect.CodeNotFound {
				t.Error(err)
			}
			_, err = client.Embed(ctx, connect.NewRequest(&v1.EmbedRequest{Model: "test"}))
			var refused *connect.Error
			if !errors.As(err, &refused) || refused.Code() != connect.CodeInvalidArgument || len(refused.Details()) != 1 {
				t.Fatal(err)
			}
			detail, err := refused.Details()[0].Value()
			if err != nil || detail.(*enginev1.ErrorDetail).GetParameter() != "texts" {
				t.Error(detail, err)
			}
		})
	}
}

func TestCallsOfToolsComeReadByEachProtocol(t *testing.T) {
	provider := &modelstest.Provider{}
	node := startNode(t, provider)
	for name, newClient := range protocols(t) {
		stream, err := newClient(node.url).Generate(context.Background(), connect.NewRequest(&v1.GenerateRequest{
			Model: modelstest.Chat, ToolsJson: `[{"type":"function","function":{"name":"f"}}]`,
			ToolChoice: v1.ToolChoice_TOOL_CHOICE_REQUIRED,
			Messages:   []*v1.Message{{Role: "user", Content: `{"name": "f", "arguments": {"a": 1}}`}},
		}))
		if err != nil {
			t.Fatal(name, err)
		}
		var text string
		var calls []*v1.ToolCallDelta
		var finish v1.FinishReason
		for stream.Receive() {
			text += stream.Msg().GetText()
			calls = append(calls, stream.Msg().GetToolCalls()...)
			finish = max(finish, stream.Msg().GetFinishReason())
		}
		if stream.Err() != nil || text != "" || finish != v1.FinishReason_FINISH_REASON_TOOL_CALLS || len(calls) != 1 ||
			calls[0].GetName() != "f" || calls[0].GetArguments() != `{"a":1}` || !strings.HasPrefix(calls[0].GetId(), "call_") {
			t.Error(name, text, calls, finish, stream.Err())
		}
		if schema := provider.Last.Load().GetJsonSchema(); !strings.Contains(schema, `"const":"f"`) {
			t.Error(name, schema)
		}
	}
}

func TestARefusalSaysWhenToTryAgain(t *testing.T) {
	node := startNode(t, &modelstest.Provider{
		Fail: &engine.Error{Status: enginev1.Status_STATUS_OVERLOADED, Message: "Full."},
	})
	for name, newClient := range protocols(t) {
		_, err := newClient(node.url).Embed(context.Background(),
			connect.NewRequest(&v1.EmbedRequest{Model: "test", Texts: []string{"a"}}))
		var refused *connect.Error
		if !errors.As(err, &refused) || refused.Code() != connect.CodeResourceExhausted || refused.Meta().Get("retry-after") != "1" {
			t.Error(name, err)
		}
	}
}

func TestADeadlineOfEachProtocolEndsTheCall(t *testing.T) {
	node := startNode(t, &modelstest.Provider{Wait: time.Minute})
	for name, newClient := range protocols(t) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		stream, err := newClient(node.url).Generate(ctx, connect.NewRequest(&v1.GenerateRequest{Model: modelstest.Chat}))
		if err == nil {
			for stream.Receive() {
			}
			err = stream.Err()
		}
		cancel()
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Error(name, err)
		}
	}
	for range 200 {
		if node.catalogue.Running() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("calls go on after their deadline")
}

func TestReflectionListsTheServicesAndTheirFiles(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	client := grpcreflect.NewClient(h2c(t), node.url, connect.WithGRPC())
	stream := client.NewStream(context.Background())
	defer func() { _, _ = stream.Close() }()
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"treeline.v1.InferenceService", "treeline.v1.ModelService", "treeline.v1.NodeService", "treeline.v1.JobService",
		"treeline.v1.IpcService", "inference.GRPCInferenceService", "treeline.engine.v1.EngineService",
		"grpc.health.v1.Health",
	} {
		isListed := false
		for _, name := range names {
			isListed = isListed || string(name) == want
		}
		if !isListed {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	files, err := stream.FileContainingSymbol("treeline.v1.InferenceService")
	if err != nil || len(files) == 0 || files[0].GetPackage() != "treeline.v1" {
		t.Error(files, err)
	}
}

func TestTensorsGoThroughTheGRPCServiceRawAndTyped(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	client := inferenceconnect.NewGRPCInferenceServiceClient(h2c(t), node.url, connect.WithGRPC())
	input := &inference.ModelInferRequest_InferInputTensor{Name: "INPUT0", Datatype: "FP32", Shape: []int64{2}}
	raw := []byte{0, 0, 128, 63, 0, 0, 0, 64}
	request := &inference.ModelInferRequest{
		ModelName: modelstest.Identity, Id: "7", Inputs: []*inference.ModelInferRequest_InferInputTensor{input},
		RawInputContents: [][]byte{raw},
	}
	ctx := context.Background()
	for _, form := range []string{"raw", "typed"} {
		if form == "typed" {
			request.RawInputContents = nil
			input.Contents = &inference.InferTensorContents{Fp32Contents: []float32{1, 2}}
		}
		answer, err := client.ModelInfer(ctx, connect.NewRequest(request))
		if err != nil {
			t.Fatal(form, err)
		}
		if answer.Msg.GetId() != "7" || answer.Msg.GetOutputs()[0].GetName() != "OUTPUT0" ||
			!bytes.Equal(answer.Msg.GetRawOutputContents()[0], raw) {
			t.Error(form, answer.Msg)
		}
	}
	request.RawInputContents = [][]byte{raw}
	if _, err := client.ModelInfer(ctx, connect.NewRequest(request)); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Error("contents in both forms:", err)
	}
	config, err := client.ModelConfig(ctx, connect.NewRequest(&inference.ModelConfigRequest{Name: modelstest.Identity}))
	if err != nil || config.Msg.GetConfig().GetInput()[0].GetDataType() != inference.DataType_TYPE_FP32 {
		t.Error(config, err)
	}
}

func TestALanguageModelStreamsThroughTheGRPCService(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	client := inferenceconnect.NewGRPCInferenceServiceClient(h2c(t), node.url, connect.WithGRPC())
	stream := client.ModelStreamInfer(context.Background())
	send := func(model, id string) {
		text := append([]byte{7, 0, 0, 0}, "one two"...)
		err := stream.Send(&inference.ModelInferRequest{
			ModelName: model, Id: id, RawInputContents: [][]byte{text},
			Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "text_input", Datatype: "BYTES", Shape: []int64{1}}},
			Parameters: map[string]*inference.InferParameter{"triton_enable_empty_final_response": {
				ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("none", "1")
	send(modelstest.Chat, "2")
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		answer, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		response := answer.GetInferResponse()
		switch {
		case answer.GetErrorMessage() != "":
			got = append(got, response.GetId()+" failed")
		case response.GetParameters()["triton_final_response"].GetBoolParam():
			got = append(got, response.GetId()+" final")
		default:
			got = append(got, response.GetId()+" "+string(response.GetRawOutputContents()[0][4:]))
		}
	}
	if want := []string{"1 failed", "2 one ", "2 two", "2 final"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func fetch(t *testing.T, method, url, body string, header map[string]string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
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

func TestBinaryTensorsGoThroughREST(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	head := `{"id":"7","parameters":{"binary_data_output":true},"inputs":[
		{"name":"INPUT0","datatype":"BF16","shape":[2],"parameters":{"binary_data_size":4}},
		{"name":"INPUT1","datatype":"INT8","shape":[1,2],"data":[[1,-1]]},
		{"name":"INPUT2","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}],
		"outputs":[{"name":"OUTPUT0"},{"name":"OUTPUT1","parameters":{"binary_data":false}},{"name":"OUTPUT2"}]}`
	body := head + "\x01\x02\x03\x04" + "\x02\x00\x00\x00\xff\xfe"
	status, header, answer := fetch(t, http.MethodPost, node.url+"/v2/models/identity/infer", body,
		map[string]string{"Inference-Header-Content-Length": strconv.Itoa(len(head))})
	length, err := strconv.Atoi(header.Get("Inference-Header-Content-Length"))
	if status != 200 || err != nil {
		t.Fatal(status, answer)
	}
	if answer[length:] != "\x01\x02\x03\x04\x02\x00\x00\x00\xff\xfe" {
		t.Errorf("%q", answer[length:])
	}
	want := `{"model_name":"identity","model_version":"3","id":"7","outputs":[` +
		`{"name":"OUTPUT0","datatype":"BF16","shape":[2],"parameters":{"binary_data_size":4}},` +
		`{"name":"OUTPUT1","datatype":"INT8","shape":[1,2],"data":[1,-1]},` +
		`{"name":"OUTPUT2","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}`
	if strings.TrimSpace(answer[:length]) != want {
		t.Error(answer[:length])
	}
}

func TestRESTRefusesWhatIsMalformed(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	input := `{"name":"x","datatype":"FP32","shape":[1],`
	for _, test := range []struct{ body, length, says string }{
		{`{`, "", "not JSON"},
		{`{}`, "", "inputs must hold"},
		{`{"inputs":[` + input + `"data":[1]}]}`, "999", "not a length"},
		{`{"inputs":[` + input + `"data":[1]}]}`, "-1", "not a length"},
		{`{"inputs":[` + input + `"data":[1]},` + input + `"data":[1]}]}`, "", "comes twice"},
		{`{"inputs":[` + input + `"parameters":{"binary_data_size":4}}]}`, "", "ends too early"},
		{`{"inputs":[` + input + `"parameters":{"binary_data_size":-1}}]}`, "", "number of bytes"},
		{`{"inputs":[` + input + `"parameters":{"shared_memory_region":"r"},"data":[1]}]}`, "", "not supported"},
		{`{"inputs":[{"name":"x","datatype":"FP16","shape":[1],"data":[1]}]}`, "", "no form in JSON"},
		{`{"inputs":[` + input + `"data":[1]}],"outputs":[{"name":"y","parameters":{"classification":1}}]}`, "", "not supported"},
	} {
		header := map[string]string{}
		if test.length != "" {
			header["Inference-Header-Content-Length"] = test.length
		}
		status, _, answer := fetch(t, http.MethodPost, node.url+"/v2/models/identity/infer", test.body, header)
		if status != 400 || !strings.Contains(answer, test.says) {
			t.Errorf("%s: %d %s", test.body, status, answer)
		}
	}
}

func TestEmbeddingAndLanguageModelsAnswerOpenInference(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	_, _, answer := fetch(t, http.MethodPost, node.url+"/v2/models/lengths/infer",
		`{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["","a"]}]}`, nil)
	if !strings.Contains(answer, "A text is empty.") {
		t.Error(answer)
	}
	_, _, answer = fetch(t, http.MethodPost, node.url+"/v2/models/lengths/infer",
		`{"inputs":[{"name":"input_ids","datatype":"INT64","shape":[2,2],"data":[5,6,7,8]},
			{"name":"attention_mask","datatype":"INT64","shape":[2,2],"data":[1,1,1,0]}]}`, nil)
	if !strings.Contains(answer, `"name":"embedding","datatype":"FP32","shape":[2,4],"data":[0.8944272,`) {
		t.Error(answer)
	}
	_, _, answer = fetch(t, http.MethodPost, node.url+"/v2/models/echo-chat/generate",
		`{"text_input":"one two three","parameters":{"max_tokens":2,"stream":false,"temperature":0}}`, nil)
	if !strings.Contains(answer, `"text_output":"one two "`) {
		t.Error(answer)
	}
	_, header, answer := fetch(t, http.MethodPost, node.url+"/v2/models/echo-chat/generate_stream", `{"text_input":"one two"}`, nil)
	if !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") || strings.Count(answer, "data: ") != 2 {
		t.Error(answer)
	}
	_, _, answer = fetch(t, http.MethodGet, node.url+"/v2/models/echo-chat/stats", "", nil)
	if !strings.Contains(answer, `"inference_count":2`) {
		t.Error(answer)
	}
}

func TestTheRepositoryLoadsAndUnloads(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	for _, step := range []struct {
		method, path, says string
		status             int
	}{
		{http.MethodGet, "/v2/models/identity/ready", `"ready":true`, 200},
		{http.MethodPost, "/v2/repository/models/identity/unload", "", 200},
		{http.MethodGet, "/v2/models/identity/ready", `"ready":false`, 503},
		{http.MethodPost, "/v2/repository/index", `{"name":"identity","version":"3","state":"UNAVAILABLE","reason":""}`, 200},
		{http.MethodPost, "/v2/repository/models/identity/load", "", 200},
		{http.MethodGet, "/v2/models/identity/versions/3/ready", `"ready":true`, 200},
		{http.MethodGet, "/v2/models/identity/versions/9", `has no version`, 404},
		{http.MethodGet, "/v2/models/none/ready", `model_not_found`, 404},
	} {
		status, _, answer := fetch(t, step.method, node.url+step.path, "", nil)
		if status != step.status || !strings.Contains(answer, step.says) {
			t.Errorf("%s: %d %s", step.path, status, answer)
		}
	}
}

func TestInferAnswersAsTheEdgeDoes(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	status, _, answer := fetch(t, http.MethodPost, node.url+"/infer", `{"model_id":"test","input":{"text":"hello"}}`, nil)
	if status != 200 || !strings.HasPrefix(answer, `{"model_id":"lengths","output":{"dimensions":4,"embeddings":[[`) ||
		!strings.Contains(answer, `"usage":{"input_tokens":5,"truncated_inputs":[]}`) {
		t.Error(status, answer)
	}
	status, _, answer = fetch(t, http.MethodPost, node.url+"/infer", `{"model_id":"echo-chat","input":{"text":"hello"}}`, nil)
	if status != 200 || !strings.Contains(answer, `"output":{"text":"hello"}`) {
		t.Error(status, answer)
	}
	status, _, answer = fetch(t, http.MethodPost, node.url+"/infer", `{"model_id":"identity","input":{"text":"hello"}}`, nil)
	if status != 501 || !strings.Contains(answer, `"code":"unsupported"`) {
		t.Error(status, answer)
	}
}

func TestADrainingNodeSaysSoAtEachDoor(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	node.catalogue.BeginDrain()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/v2/health/live": 200, "/v2/health/ready": 503} {
		if status, _, answer := fetch(t, http.MethodGet, node.url+path, "", nil); status != want {
			t.Error(path, status, answer)
		}
	}
	status, header, answer := fetch(t, http.MethodPost, node.url+"/v1/embeddings", `{"model":"test","input":"a"}`, nil)
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(answer, "draining") {
		t.Error(status, answer)
	}
	client := treelinev1connect.NewInferenceServiceClient(h2c(t), node.url, connect.WithGRPC())
	_, err := client.Embed(context.Background(), connect.NewRequest(&v1.EmbedRequest{Model: "test", Texts: []string{"a"}}))
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Error(err)
	}
}

func TestTheNodeDescribesItselfAndDrainsWhenTold(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	client := treelinev1connect.NewNodeServiceClient(http.DefaultClient, node.url)
	self, err := client.GetNode(context.Background(), connect.NewRequest(&v1.GetNodeRequest{}))
	if err != nil || self.Msg.GetAddress() != node.url || len(self.Msg.GetModels()) != 3 {
		t.Error(self, err)
	}
	if _, err := client.Drain(context.Background(), connect.NewRequest(&v1.DrainRequest{})); err != nil {
		t.Error(err)
	}
	select {
	case <-node.drained:
	case <-time.After(time.Second):
		t.Error("nobody was told")
	}
	jobs := treelinev1connect.NewJobServiceClient(http.DefaultClient, node.url)
	_, err = jobs.GetJob(context.Background(), connect.NewRequest(&v1.GetJobRequest{Id: "a"}))
	if connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Error("without a queue:", err)
	}
}

func TestBodiesOverTheBoundAreRefusedAtEachDoor(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	large := strings.Repeat("a", 8<<20)
	for path, body := range map[string]string{
		"/v1/embeddings":            `{"model":"test","input":"` + large + `"}`,
		"/infer":                    `{"model_id":"test","input":{"text":"` + large + `"}}`,
		"/v2/models/identity/infer": `{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["` + large + `"]}]}`,
	} {
		if status, _, answer := fetch(t, http.MethodPost, node.url+path, body, nil); status != 413 {
			t.Error(path, status, answer)
		}
	}
	client := treelinev1connect.NewInferenceServiceClient(h2c(t), node.url, connect.WithGRPC())
	_, err := client.Embed(context.Background(), connect.NewRequest(&v1.EmbedRequest{Model: "test", Texts: []string{large}}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Error(err)
	}
	header := map[string]string{"X-Filler": strings.Repeat("a", door.HeaderBytesMax*2)}
	if status, _, _ := fetch(t, http.MethodGet, node.url+"/healthz", "", header); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(status)
	}
}

func TestMetricsCountTheCalls(t *testing.T) {
	node := startNode(t, &modelstest.Provider{})
	fetch(t, http.MethodPost, node.url+"/v1/chat/completions",
		`{"model":"echo-chat","messages":[{"role":"user","content":"one two"}]}`, nil)
	_, _, metrics := fetch(t, http.MethodGet, node.url+"/metrics", "", nil)
	for _, want := range []string{`vllm:generation_tokens_total{`, `vllm:prompt_tokens_total{`, `model_name="echo-chat"`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is missing in %s", want, metrics)
		}
	}
}
