package toolcalls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// toolsMax bounds the tools of a call, as OpenAI does.
const toolsMax = 128

var toolName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// tool is a function that the model may call.
type tool struct {
	Type     string `json:"type"`
	Function struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// toolset are the tools that an answer may call.
type toolset struct {
	tools []tool
	// must is true where the answer has to be a call, of one of `tools`.
	must bool
	// callsMax is how many calls an answer may make; 0: any number.
	callsMax int
}

// invalid refuses a request whose field `parameter` is not as it must be. Fields have OpenAI's names.
func invalid(parameter, format string, values ...any) error {
	return &engine.Error{
		Status: enginev1.Status_STATUS_INVALID_ARGUMENT, Message: fmt.Sprintf(format, values...), Parameter: parameter,
	}
}

func (set *toolset) has(name string) bool {
	return slices.ContainsFunc(set.tools, func(tool tool) bool { return tool.Function.Name == name })
}

// toToolset reads the tools of a request and what it chooses among them; nil where the model has none to call.
func toToolset(request *v1.GenerateRequest) (*toolset, error) {
	set := &toolset{}
	if text := request.GetToolsJson(); text != "" && json.Unmarshal([]byte(text), &set.tools) != nil {
		return nil, invalid("tools", "tools must be an array of functions.")
	}
	if len(set.tools) > toolsMax {
		return nil, invalid("tools", "tools may hold %d functions at most.", toolsMax)
	}
	for index, tool := range set.tools {
		if err := tool.check(index); err != nil {
			return nil, err
		}
	}
	if request.ParallelToolCalls != nil && !request.GetParallelToolCalls() {
		set.callsMax = 1
	}
	return set.choose(request.GetToolChoice(), request.GetToolName())
}

func (tool *tool) check(index int) error {
	if tool.Type != "function" || !toolName.MatchString(tool.Function.Name) {
		return invalid(fmt.Sprintf("tools.%d", index),
			"A tool must be of type function, with a name of 1 to 64 letters, digits, underscores and dashes.")
	}
	var parameters map[string]json.RawMessage
	if given := tool.parameters(); given != "" && json.Unmarshal([]byte(given), &parameters) != nil {
		return invalid(fmt.Sprintf("tools.%d.function.parameters", index), "parameters must be a JSON Schema of an object.")
	}
	return nil
}

// parameters is the schema of the function's arguments; empty where none is given.
func (tool *tool) parameters() string {
	if bytes.Equal(tool.Function.Parameters, []byte("null")) {
		return ""
	}
	return string(tool.Function.Parameters)
}

// choose keeps the tools that the answer may call; nil where it may call none.
func (set *toolset) choose(choice v1.ToolChoice, name string) (*toolset, error) {
	if name != "" && choice != v1.ToolChoice_TOOL_CHOICE_REQUIRED {
		return nil, invalid("tool_name", "tool_name needs a tool_choice of required.")
	}
	switch choice {
	case v1.ToolChoice_TOOL_CHOICE_NONE:
		return nil, nil
	case v1.ToolChoice_TOOL_CHOICE_UNSPECIFIED, v1.ToolChoice_TOOL_CHOICE_AUTO:
		if len(set.tools) == 0 {
			return nil, nil
		}
		return set, nil
	case v1.ToolChoice_TOOL_CHOICE_REQUIRED:
	default:
		return nil, invalid("tool_choice", "tool_choice must be auto, none or required.")
	}
	if len(set.tools) == 0 {
		return nil, invalid("tool_choice", "tool_choice needs tools.")
	}
	set.must = true
	if name == "" {
		return set, nil
	}
	if !set.has(name) {
		return nil, invalid("tool_choice", "tool_choice names %.80q, which is not among tools.", name)
	}
	set.tools = slices.DeleteFunc(set.tools, func(other tool) bool { return other.Function.Name != name })
	return set, nil
}
