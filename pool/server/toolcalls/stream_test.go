package toolcalls

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	twoTools = `[{"type":"function","function":{"name":"f","parameters":{"z":0,"a":{"$ref":"#/$defs/T"},"$defs":{"T":{}}}}},
		{"type":"function","function":{"name":"g","parameters":null}}]`
	stopped  = v1.FinishReason_FINISH_REASON_STOP
	required = v1.ToolChoice_TOOL_CHOICE_REQUIRED
)

func newID() string { return "id" }

// answer reads the messages of an answer to the request.
func answer(t *testing.T, request *v1.GenerateRequest, messages ...*v1.GenerateResponse) (told []*v1.GenerateResponse) {
	t.Helper()
	_, read, err := Read(request, newID, func(message *v1.GenerateResponse) error {
		told = append(told, message)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		if err := read(message); err != nil {
			t.Fatal(err)
		}
	}
	return told
}

func TestTheSchemaOfACallMovesReferencesAndKeepsTheOrder(t *testing.T) {
	request := &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: required}
	call, _, err := Read(request, newID, nil)
	if err != nil || !strings.Contains(call.GetJsonSchema(),
		`"arguments":{"z":0,"a":{"$ref":"#/anyOf/0/properties/arguments/$defs/T"},"$defs":{"T":{}}}`) {
		t.Errorf("%v, %v", call, err)
	}
	request.ToolName = "g"
	call, _, err = Read(request, newID, nil)
	want := `{"type":"object","properties":{"name":{"const":"g"},"arguments":` + noParameters
	if err != nil || !strings.HasPrefix(call.GetJsonSchema(), want) {
		t.Errorf("%v, %v", call, err)
	}
}

func TestARequestIsLeftAsItIsSoThatItCanBeTriedAgain(t *testing.T) {
	request := &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: required, ParallelToolCalls: proto.Bool(false)}
	before := proto.Clone(request)
	for range 2 {
		if _, _, err := Read(request, newID, nil); err != nil || !proto.Equal(request, before) {
			t.Fatal(err, request)
		}
	}
}

func TestNoToolsAreToldWhereNoneIsToBeCalled(t *testing.T) {
	request := &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: v1.ToolChoice_TOOL_CHOICE_NONE}
	call, _, err := Read(request, newID, nil)
	if err != nil || !proto.Equal(call, &v1.GenerateRequest{}) {
		t.Error(call, err)
	}
	text := `<tool_call>{"name":"f"}</tool_call>`
	told := answer(t, request, &v1.GenerateResponse{Text: text, FinishReason: stopped})
	if told[0].GetText() != text || told[0].GetFinishReason() != stopped {
		t.Error(told)
	}
}

func TestCallsComeApartFromTheTextAndEachChoiceHasItsOwn(t *testing.T) {
	request := &v1.GenerateRequest{ToolsJson: twoTools, N: 2}
	told := answer(t, request,
		&v1.GenerateResponse{Index: 0, Text: `See: <tool_call>{"name":"f"`, Ids: []uint32{1}},
		&v1.GenerateResponse{Index: 1, Text: `{"name": "g",`, Ids: []uint32{2}},
		&v1.GenerateResponse{Index: 0, Text: `}</tool_call><tool_call>{"name":"g"}</tool_call>`, Ids: []uint32{3}},
		&v1.GenerateResponse{Index: 1, Text: ` "arguments": {"a": 1}}`, FinishReason: stopped},
		&v1.GenerateResponse{Index: 0, FinishReason: stopped},
		&v1.GenerateResponse{Usage: &v1.Usage{CompletionTokens: 4}},
	)
	want := []*v1.GenerateResponse{
		{Index: 0, Text: "See:", Ids: []uint32{1}},
		{Index: 1, Ids: []uint32{2}},
		{Index: 0, Ids: []uint32{3}, ToolCalls: []*v1.ToolCallDelta{
			{Index: 0, Id: "call_id", Name: "f", Arguments: "{}"}, {Index: 1, Id: "call_id", Name: "g", Arguments: "{}"},
		}},
		{Index: 1, FinishReason: v1.FinishReason_FINISH_REASON_TOOL_CALLS, ToolCalls: []*v1.ToolCallDelta{
			{Index: 0, Id: "call_id", Name: "g", Arguments: `{"a":1}`},
		}},
		{Index: 0, FinishReason: v1.FinishReason_FINISH_REASON_TOOL_CALLS},
		{Usage: &v1.Usage{CompletionTokens: 4}},
	}
	if !slices.EqualFunc(told, want, func(a, b *v1.GenerateResponse) bool { return proto.Equal(a, b) }) {
		t.Error(told)
	}
}

func TestAnAnswerThatWasCutOffSaysSoThoughItHasCalled(t *testing.T) {
	length := v1.FinishReason_FINISH_REASON_LENGTH
	told := answer(t, &v1.GenerateRequest{ToolsJson: twoTools},
		&v1.GenerateResponse{Text: `<tool_call>{"name":"f"}</tool_call><tool_call>{"na`, FinishReason: length})
	if told[0].GetFinishReason() != length || len(told[0].GetToolCalls()) != 1 || told[0].GetText() != `<tool_call>{"na` {
		t.Error(told)
	}
}

func TestToolsThatCannotBeReadAreRefused(t *testing.T) {
	for _, test := range []struct {
		parameter string
		request   *v1.GenerateRequest
	}{
		{"tools", &v1.GenerateRequest{ToolsJson: "{}"}},
		{"tools", &v1.GenerateRequest{ToolsJson: "[" + strings.Repeat("{},", toolsMax) + "{}]"}},
		{"tools.0", &v1.GenerateRequest{ToolsJson: `[{"type":"function","function":{"name":"a b"}}]`}},
		{"tools.0.function.parameters",
			&v1.GenerateRequest{ToolsJson: `[{"type":"function","function":{"name":"f","parameters":[]}}]`}},
		{"tool_choice", &v1.GenerateRequest{ToolChoice: required}},
		{"tool_choice", &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: 9}},
		{"tool_choice", &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: required, ToolName: "h"}},
		{"tool_name", &v1.GenerateRequest{ToolsJson: twoTools, ToolName: "f"}},
		{"response_format", &v1.GenerateRequest{ToolsJson: twoTools, ToolChoice: required, JsonSchema: "{}"}},
	} {
		_, _, err := Read(test.request, newID, nil)
		var refused *engine.Error
		if !errors.As(err, &refused) || refused.Parameter != test.parameter {
			t.Errorf("%v: %v", test.request, err)
		}
	}
}

func TestPiecesOfACallMakeItWhole(t *testing.T) {
	var calls []*v1.ToolCallDelta
	for _, piece := range []*v1.ToolCallDelta{
		{Index: 0, Id: "a", Name: "f"}, {Index: 1, Id: "b", Name: "g", Arguments: "{"},
		{Index: 0, Arguments: `{"x":`}, {Index: 1, Arguments: "}"}, {Index: 0, Arguments: "1}"},
	} {
		calls = Gather(calls, []*v1.ToolCallDelta{piece})
	}
	if len(calls) != 2 || !proto.Equal(calls[0], &v1.ToolCallDelta{Id: "a", Name: "f", Arguments: `{"x":1}`}) ||
		!proto.Equal(calls[1], &v1.ToolCallDelta{Index: 1, Id: "b", Name: "g", Arguments: "{}"}) {
		t.Error(calls)
	}
}
