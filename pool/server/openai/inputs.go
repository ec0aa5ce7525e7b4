package openai

import (
	"bytes"
	"encoding/json"

	"treeline.dev/pool/models"
)

// whiteSpace is JSON's.
const whiteSpace = " \t\r\n"

// inputs are either texts or sequences of token ids.
type inputs struct {
	texts  []string
	tokens [][]uint32
}

func (list *inputs) count() int { return len(list.texts) + len(list.tokens) }

// parseInputs reads a string, an array of strings, an array of token ids, or an array of such arrays.
func parseInputs(name string, data []byte) (parsed inputs, err error) {
	var text string
	var ids []uint32
	switch firstOf(data) {
	case '"':
		err = json.Unmarshal(data, &text)
		parsed.texts = []string{text}
	case '[':
		switch firstOf(bytes.TrimLeft(data, whiteSpace)[1:]) {
		case ']':
			// An empty array is neither; the caller refuses to have no input.
		case '"':
			err = json.Unmarshal(data, &parsed.texts)
		case '[':
			err = json.Unmarshal(data, &parsed.tokens)
		default:
			err = json.Unmarshal(data, &ids)
			parsed.tokens = [][]uint32{ids}
		}
	default:
		return inputs{}, refuseInputs(name)
	}
	if err != nil {
		return inputs{}, refuseInputs(name)
	}
	for _, sequence := range parsed.tokens {
		if len(sequence) == 0 {
			return inputs{}, models.Invalid(name, "%s holds an empty list of token ids.", name)
		}
	}
	return parsed, nil
}

func refuseInputs(name string) error {
	return models.Invalid(name,
		"%s must be a string, an array of strings, an array of token ids, or an array of such arrays.", name)
}

// firstOf is the first character that is no white space, or 0.
func firstOf(data []byte) byte {
	trimmed := bytes.TrimLeft(data, whiteSpace)
	if len(trimmed) == 0 {
		return 0
	}
	return trimmed[0]
}
