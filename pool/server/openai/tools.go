package openai

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
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

// toolset are the tools of a call; nil where the model has none to call.
type toolset struct {
	// text is the array as the client wrote it, for the chat template.
	text  string
	tools []tool
	// must is true where the answer has to be a call, of one of `tools`.
	must bool
	// callsMax is how many calls an answer may make; 0: any number.
	callsMax int
}

func (set *toolset) has(name string) bool {
	return slices.ContainsFunc(set.tools, func(tool tool) bool { return tool.Function.Name == name })
}

// toTools reads tools, tool_choice and parallel_tool_calls.
func (body *chatRequest) toTools() (*toolset, error) {
	set := &toolset{text: orEmpty(body.Tools)}
	if set.text != "" && json.Unmarshal(body.Tools, &set.tools) != nil {
		return nil, models.Invalid("tools", "tools must be an array of functions.")
	}
	if len(set.tools) > toolsMax {
		return nil, models.Invalid("tools", "tools may hold %d functions at most.", toolsMax)
	}
	for index, tool := range set.tools {
		if err := tool.check(index); err != nil {
			return nil, err
		}
	}
	if body.ParallelToolCalls != nil && !*body.ParallelToolCalls {
		set.callsMax = 1
	}
	return set.choose(body.ToolChoice)
}

func (tool *tool) check(index int) error {
	if tool.Type != "function" || !toolName.MatchString(tool.Function.Name) {
		return models.Invalid(fmt.Sprintf("tools.%d", index),
			"A tool must be of type function, with a name of 1 to 64 letters, digits, underscores and dashes.")
	}
	var parameters map[string]json.RawMessage
	if given := orEmpty(tool.Function.Parameters); given != "" && json.Unmarshal([]byte(given), &parameters) != nil {
		return models.Invalid(fmt.Sprintf("tools.%d.function.parameters", index), "parameters must be a JSON Schema of an object.")
	}
	return nil
}

// choose reads tool_choice: none, auto, required, or a function by its name.
func (set *toolset) choose(choice json.RawMessage) (*toolset, error) {
	text := orEmpty(choice)
	switch text {
	case `"none"`:
		return nil, nil
	case "", `"auto"`:
		if len(set.tools) == 0 {
			return nil, nil
		}
		return set, nil
	}
	if len(set.tools) == 0 {
		return nil, models.Invalid("tool_choice", "tool_choice needs tools.")
	}
	set.must = true
	if text == `"required"` {
		return set, nil
	}
	var named tool
	if json.Unmarshal(choice, &named) != nil || named.Type != "function" {
		return nil, models.Invalid("tool_choice", "tool_choice must be none, auto, required, or a function by its name.")
	}
	if !set.has(named.Function.Name) {
		return nil, models.Invalid("tool_choice", "tool_choice names %q, which is not among tools.", models.Shorten(named.Function.Name))
	}
	set.tools = slices.DeleteFunc(set.tools, func(other tool) bool { return other.Function.Name != named.Function.Name })
	return set, nil
}

// apply gives the tools to a request, and the schema of a call where one has to be made.
func (set *toolset) apply(request *v1.GenerateRequest) error {
	if set == nil {
		return nil
	}
	request.ToolsJson = set.text
	if !set.must {
		return nil
	}
	if request.JsonSchema != "" {
		return models.Invalid("response_format", "response_format cannot be kept to where a tool has to be called.")
	}
	schema, err := set.schema()
	request.JsonSchema = schema
	return err
}

// callSchema is the schema of one call, its fields in the order in which the model shall write them.
type callSchema struct {
	Type       string `json:"type"`
	Properties struct {
		Name struct {
			Const string `json:"const"`
		} `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"properties"`
	Required             []string `json:"required"`
	AdditionalProperties bool     `json:"additionalProperties"`
}

// localReference is the beginning of a reference into the same schema, which moves with it.
var localReference = regexp.MustCompile(`"\$ref"\s*:\s*"#`)

// noParameters is the schema of a function that takes none.
const noParameters = `{"type":"object","properties":{},"additionalProperties":false}`

func (tool *tool) schema(path string) callSchema {
	made := callSchema{Type: "object", Required: []string{"name", "arguments"}}
	made.Properties.Name.Const = tool.Function.Name
	parameters := orEmpty(tool.Function.Parameters)
	if parameters == "" {
		parameters = noParameters
	}
	// As text, so that the parameters keep their order.
	moved := localReference.ReplaceAllLiteralString(parameters, `"$ref":"`+path+`/properties/arguments`)
	made.Properties.Arguments = json.RawMessage(moved)
	return made
}

// schema is that of a call of one of the tools.
func (set *toolset) schema() (string, error) {
	if len(set.tools) == 1 {
		text, err := json.Marshal(set.tools[0].schema("#"))
		return string(text), err
	}
	calls := make([]callSchema, len(set.tools))
	for index := range set.tools {
		calls[index] = set.tools[index].schema(fmt.Sprintf("#/anyOf/%d", index))
	}
	text, err := json.Marshal(map[string][]callSchema{"anyOf": calls})
	return string(text), err
}
