package toolcalls

import (
	"fmt"
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

func readerOf(names ...string) *reader {
	set := &toolset{}
	for _, name := range names {
		one := tool{Type: "function"}
		one.Function.Name = name
		set.tools = append(set.tools, one)
	}
	return &reader{set: set, newID: func() string { return "id" }}
}

// read pushes a text in pieces of some bytes each.
func read(reader *reader, text string, size int) (content, calls string) {
	tell := func(told string, made []*v1.ToolCallDelta) {
		content += told
		for _, call := range made {
			calls += fmt.Sprintf("%s(%s)", call.GetName(), call.GetArguments())
		}
	}
	for begin := 0; begin < len(text); begin += size {
		tell(reader.push(text[begin:min(begin+size, len(text))]))
	}
	tell(reader.end())
	return content, calls
}

func TestCallsAreFoundInEveryFormAndHoweverTheTextIsCut(t *testing.T) {
	for text, expected := range map[string][2]string{
		"Just words.":                 {"Just words.", ""},
		" \n spaces \n":               {" \n spaces \n", ""},
		"a < b, <tool> and <tool_cal": {"a < b, <tool> and <tool_cal", ""},
		"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>":                                                                          {"", `f({"a":1})`},
		"Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{\\\"b\\\":2}\"}</tool_call>\n": {"Let me see.", `f({})g({"b":2})`},
		"<tool_call>{\"name\":\"f\"}": {"", `f({})`},
		"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"</tool_cal\"}}</tool_call>": {"", `f({"a":"</tool_cal"})`},
		"<tool_call>{\"name\":\"other\",\"arguments\":{}}</tool_call>":                 {`<tool_call>{"name":"other","arguments":{}}</tool_call>`, ""},
		"<tool_call>nonsense":                                                                       {"<tool_call>nonsense", ""},
		"{\"name\": \"f\", \"parameters\": {\"a\": [1, 2]}}":                                        {"", `f({"a":[1,2]})`},
		"<|python_tag|>{\"name\": \"f\", \"parameters\": {}}":                                       {"", `f({})`},
		"[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]": {"", `f({})g({})`},
		"[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {}}}]":            {"", `f({})`},
		"{\"name\": \"Anna\", \"age\": 3}":                                                          {`{"name": "Anna", "age": 3}`, ""},
		"{\"age\": 3}":                                                                              {`{"age": 3}`, ""},
		"{\"name\":\"f\",\"arguments\":{\"a\"":                                                      {`{"name":"f","arguments":{"a"`, ""},
		"{\"name\":\"f\",\"arguments\":[1]}":                                                        {`{"name":"f","arguments":[1]}`, ""},
		"Wörter 🌲 <tool_call>{\"name\":\"f\",\"arguments\":{\"ü\":\"🌲\"}}</tool_call> danach":       {"Wörter 🌲 danach", `f({"ü":"🌲"})`},
	} {
		for _, size := range []int{1, 2, 3, 7, len(text)} {
			content, calls := read(readerOf("f", "g"), text, size)
			if content != expected[0] || calls != expected[1] {
				t.Errorf("%q in pieces of %d: %q and %q", text, size, content, calls)
			}
		}
	}
}

func TestMoreCallsThanAreWantedAreLeftOut(t *testing.T) {
	one := `<tool_call>{"name":"f","arguments":{}}</tool_call>`
	reader := readerOf("f")
	reader.set.callsMax = 1
	if content, calls := read(reader, one+one, 5); content != "" || calls != "f({})" {
		t.Errorf("%q and %q", content, calls)
	}
}

func TestWhatIsToldAsItComesIsNotHeldBack(t *testing.T) {
	reader := readerOf("f")
	for _, word := range []string{"One", " two", " {"} {
		if content, _ := reader.push(word); content != word {
			t.Errorf("%q told as %q", word, content)
		}
	}
}

func FuzzCallsLoseNoTextThatIsNotACall(f *testing.F) {
	f.Add("<tool_call>{\"name\":\"f\"}</tool_call> a <tool_call>", 3)
	f.Add(" [TOOL_CALLS] {\"name\": 1", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			return
		}
		whole, calls := read(readerOf("f"), text, max(1, len(text)))
		pieces, same := read(readerOf("f"), text, size)
		if whole != pieces || calls != same {
			t.Errorf("%q and %q, in pieces %q and %q", whole, calls, pieces, same)
		}
		if calls == "" && whole != text {
			t.Errorf("%q became %q", text, whole)
		}
	})
}
