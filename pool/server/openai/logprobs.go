package openai

import (
	"strings"
	"unicode/utf8"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// tokenLogprob is a token as chat completions show it.
type tokenLogprob struct {
	Token       string       `json:"token"`
	Logprob     float32      `json:"logprob"`
	Bytes       []int        `json:"bytes"`
	TopLogprobs []topLogprob `json:"top_logprobs"`
}

type topLogprob struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// chatLogprobs is `logprobs` of a choice of a chat completion.
type chatLogprobs struct {
	Content []tokenLogprob  `json:"content"`
	Refusal *[]tokenLogprob `json:"refusal"`
}

// shown is a token's text; bytes that are only a part of a character become the replacement character.
func shown(piece []byte) string { return strings.ToValidUTF8(string(piece), "\uFFFD") }

// integers are the bytes as JSON has them; encoding/json would make base64 of []byte.
func integers(piece []byte) []int {
	list := make([]int, len(piece))
	for index, value := range piece {
		list[index] = int(value)
	}
	return list
}

func toChatLogprobs(tokens []*v1.TokenLogprob) *chatLogprobs {
	if len(tokens) == 0 {
		return nil
	}
	converted := make([]tokenLogprob, len(tokens))
	for index, token := range tokens {
		top := make([]topLogprob, len(token.GetTop()))
		for rank, other := range token.GetTop() {
			top[rank] = topLogprob{shown(other.GetPiece()), other.GetLogprob(), integers(other.GetPiece())}
		}
		piece := token.GetPiece()
		converted[index] = tokenLogprob{shown(piece), token.GetLogprob(), integers(piece), top}
	}
	return &chatLogprobs{Content: converted}
}

// textLogprobs is `logprobs` of a choice of a text completion: parallel lists.
type textLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []float32            `json:"token_logprobs"`
	TopLogprobs   []map[string]float32 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

// toTextLogprobs converts tokens whose text begins `offset` characters into the choice's text; it gives the offset after.
func toTextLogprobs(tokens []*v1.TokenLogprob, offset int) (*textLogprobs, int) {
	if len(tokens) == 0 {
		return nil, offset
	}
	lists := &textLogprobs{}
	for _, token := range tokens {
		text := shown(token.GetPiece())
		top := make(map[string]float32, len(token.GetTop()))
		for _, other := range token.GetTop() {
			// Two tokens may look alike; the likelier comes first.
			if _, taken := top[shown(other.GetPiece())]; !taken {
				top[shown(other.GetPiece())] = other.GetLogprob()
			}
		}
		lists.Tokens = append(lists.Tokens, text)
		lists.TokenLogprobs = append(lists.TokenLogprobs, token.GetLogprob())
		lists.TopLogprobs = append(lists.TopLogprobs, top)
		lists.TextOffset = append(lists.TextOffset, offset)
		offset += utf8.RuneCountInString(text)
	}
	return lists, offset
}
