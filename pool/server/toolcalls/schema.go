package toolcalls

import (
	"encoding/json"
	"fmt"
	"regexp"
)

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

// schema is that of a call of the tool, where it lies at `path` of the whole.
func (tool *tool) schema(path string) callSchema {
	made := callSchema{Type: "object", Required: []string{"name", "arguments"}}
	made.Properties.Name.Const = tool.Function.Name
	parameters := tool.parameters()
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
