package toolcalls

import (
	"bytes"
	"encoding/json"
	"strings"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Marks around calls in the text of models: Hermes' and Qwen's, and what Mistral's and Llama's put before a bare JSON.
const (
	callBegin = "<tool_call>"
	callEnd   = "</tool_call>"
	// spaces around a call are left out.
	spaces = " \t\r\n"
)

var bareMarks = []string{"[TOOL_CALLS]", "<|python_tag|>"}

// bareBegins are how a call without marks begins, spaces left out.
var bareBegins = func() (begins []string) {
	objects := []string{`{"name"`, `{"arguments"`, `{"parameters"`, `{"function"`, `{"type":"function"`}
	for _, mark := range append([]string{""}, bareMarks...) {
		for _, object := range objects {
			begins = append(begins, mark+object, mark+"["+object)
		}
	}
	return begins
}()

// reader finds calls of tools in a text that comes in pieces. What is no call of a known tool is content.
type reader struct {
	set   *toolset
	newID func() string
	// held is text that is not told yet: it may be the beginning of a call, or is one.
	held string
	// inCall is true between callBegin and callEnd; isBare where the whole text looks like a call.
	inCall, isBare bool
	// hasContent is true once content was told since the beginning or the last call: space before it is left out.
	hasContent bool
	// space stood before callBegin; it is content where no call follows.
	space string
	calls int
}

// push takes a piece, and tells the content and the calls that are certain.
func (reader *reader) push(text string) (content string, calls []*v1.ToolCallDelta) {
	reader.held += text
	for {
		switch {
		case reader.isBare:
			return content, calls
		case reader.inCall:
			body, rest, isWhole := strings.Cut(reader.held, callEnd)
			if !isWhole {
				return content, calls
			}
			reader.held, reader.inCall = rest, false
			if found := reader.parse(body); found != nil {
				calls = append(calls, found...)
			} else {
				content += reader.space + callBegin + body + callEnd
				reader.hasContent = true
			}
		default:
			told, isUndecided := reader.pushContent()
			content += told
			if isUndecided {
				return content, calls
			}
		}
	}
}

// pushContent tells what of the held text is content. It is undecided where more text is needed to go on.
func (reader *reader) pushContent() (content string, isUndecided bool) {
	if !reader.hasContent {
		trimmed := strings.TrimLeft(reader.held, spaces)
		if trimmed == "" {
			return "", true
		}
		if reader.calls == 0 {
			begins, mayBegin := matchBare(trimmed)
			if begins {
				reader.isBare = true
				return "", true
			}
			if mayBegin {
				return "", true
			}
		}
		if len(trimmed) < len(callBegin) && strings.HasPrefix(callBegin, trimmed) {
			return "", true
		}
		if rest, isCall := strings.CutPrefix(trimmed, callBegin); isCall {
			reader.space = reader.held[:len(reader.held)-len(trimmed)]
			reader.held, reader.inCall = rest, true
			return "", false
		}
		reader.hasContent = true
	}
	before, rest, isCall := strings.Cut(reader.held, callBegin)
	if isCall {
		content = strings.TrimRight(before, spaces)
		reader.held, reader.inCall, reader.hasContent, reader.space = rest, true, false, before[len(content):]
		return content, false
	}
	keep := beginningAtTheEnd(reader.held)
	content, reader.held = reader.held[:len(reader.held)-keep], reader.held[len(reader.held)-keep:]
	return content, true
}

// matchBare tells whether a text begins as a call without marks does, or may when there is more of it.
func matchBare(text string) (begins, mayBegin bool) {
	const longest = 64
	compact := strings.Join(strings.Fields(text[:min(len(text), longest)]), "")
	for _, begin := range bareBegins {
		begins = begins || strings.HasPrefix(compact, begin)
		mayBegin = mayBegin || strings.HasPrefix(begin, compact) && len(text) < longest
	}
	return begins, mayBegin
}

// beginningAtTheEnd is how many bytes at the text's end may be the beginning of a call, with the space before it.
func beginningAtTheEnd(text string) int {
	rest := text
	for length := min(len(callBegin)-1, len(text)); length > 0; length-- {
		if before, isBeginning := strings.CutSuffix(text, callBegin[:length]); isBeginning {
			rest = before
			break
		}
	}
	return len(text) - len(strings.TrimRight(rest, spaces))
}

// end tells what was held back when the text has ended.
func (reader *reader) end() (content string, calls []*v1.ToolCallDelta) {
	held := reader.held
	reader.held = ""
	if reader.inCall || reader.isBare {
		// Some models leave the closing mark out.
		if calls = reader.parse(held); calls != nil {
			return "", calls
		}
		if reader.inCall {
			held = reader.space + callBegin + held
		}
	}
	if reader.calls > 0 && strings.TrimSpace(held) == "" {
		return "", nil
	}
	return held, nil
}

// writtenCall is a call in the forms that models write.
type writtenCall struct {
	Name       string          `json:"name"`
	Arguments  json.RawMessage `json:"arguments"`
	Parameters json.RawMessage `json:"parameters"`
	Function   *writtenCall    `json:"function"`
}

// parse reads one call or an array of them; nil where the text is none, or names no tool that there is.
func (reader *reader) parse(text string) []*v1.ToolCallDelta {
	text = strings.TrimSpace(text)
	for _, mark := range bareMarks {
		text = strings.TrimSpace(strings.TrimPrefix(text, mark))
	}
	var written []writtenCall
	if json.Unmarshal([]byte(text), &written) != nil {
		written = make([]writtenCall, 1)
		if json.Unmarshal([]byte(text), &written[0]) != nil {
			return nil
		}
	}
	var made []*v1.ToolCallDelta
	for _, call := range written {
		function := call.read(reader.set)
		if function == nil {
			return nil
		}
		function.Index = uint32(reader.calls + len(made))
		function.Id = "call_" + reader.newID()
		made = append(made, function)
	}
	if most := reader.set.callsMax; most > 0 {
		made = made[:min(len(made), max(0, most-reader.calls))]
	}
	reader.calls += len(made)
	if made == nil {
		return nil
	}
	return made
}

// read gives the function's name and its arguments; nil where it is none of the set's, or the arguments are no object.
func (call *writtenCall) read(set *toolset) *v1.ToolCallDelta {
	if call.Function != nil {
		call = call.Function
	}
	arguments := bytes.TrimSpace(call.Arguments)
	if len(arguments) == 0 {
		arguments = bytes.TrimSpace(call.Parameters)
	}
	if len(arguments) == 0 {
		arguments = []byte("{}")
	}
	var inString string
	if json.Unmarshal(arguments, &inString) == nil {
		arguments = []byte(inString)
	}
	var object map[string]json.RawMessage
	if !set.has(call.Name) || json.Unmarshal(arguments, &object) != nil || object == nil {
		return nil
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, arguments)
	return &v1.ToolCallDelta{Name: call.Name, Arguments: compact.String()}
}
