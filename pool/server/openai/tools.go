package openai

import (
	"encoding/json"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// toolCall is a call of a function as an answer shows it.
type toolCall struct {
	// Index is only in streams.
	Index *uint32 `json:"index,omitempty"`
	// ID, Type and the function's name are only on the first event of a call.
	ID       string         `json:"id,omitempty"`
	Type     string         `json:"type,omitempty"`
	Function calledFunction `json:"function"`
}

type calledFunction struct {
	Name string `json:"name,omitempty"`
	// Arguments are JSON inside a string, as OpenAI has it.
	Arguments string `json:"arguments"`
}

func toToolCall(call *v1.ToolCallDelta) toolCall {
	shown := toolCall{ID: call.GetId(), Function: calledFunction{Name: call.GetName(), Arguments: call.GetArguments()}}
	if shown.ID != "" {
		shown.Type = "function"
	}
	return shown
}

// toToolCallChunks are the pieces of calls as an event of a stream shows them.
func toToolCallChunks(pieces []*v1.ToolCallDelta) []toolCall {
	var shown []toolCall
	for _, piece := range pieces {
		chunk := toToolCall(piece)
		chunk.Index = &piece.Index
		shown = append(shown, chunk)
	}
	return shown
}

// putTools gives tools, tool_choice and parallel_tool_calls to the request. What they hold is checked for all doors alike,
// where the model is called.
func (body *chatRequest) putTools(request *v1.GenerateRequest) (err error) {
	request.ToolsJson, request.ParallelToolCalls = orEmpty(body.Tools), body.ParallelToolCalls
	request.ToolChoice, request.ToolName, err = toToolChoice(body.ToolChoice)
	return err
}

// toToolChoice reads tool_choice: none, auto, required, or a function by its name.
func toToolChoice(choice json.RawMessage) (v1.ToolChoice, string, error) {
	switch orEmpty(choice) {
	case "":
		return v1.ToolChoice_TOOL_CHOICE_UNSPECIFIED, "", nil
	case `"auto"`:
		return v1.ToolChoice_TOOL_CHOICE_AUTO, "", nil
	case `"none"`:
		return v1.ToolChoice_TOOL_CHOICE_NONE, "", nil
	case `"required"`:
		return v1.ToolChoice_TOOL_CHOICE_REQUIRED, "", nil
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(choice, &named) != nil || named.Type != "function" || named.Function.Name == "" {
		return 0, "", models.Invalid("tool_choice", "tool_choice must be none, auto, required, or a function by its name.")
	}
	return v1.ToolChoice_TOOL_CHOICE_REQUIRED, named.Function.Name, nil
}
