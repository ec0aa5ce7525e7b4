package openai

import (
	"encoding/json"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"

	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// usage counts tokens.
type usage struct {
	PromptTokens        uint32         `json:"prompt_tokens"`
	CompletionTokens    uint32         `json:"completion_tokens"`
	TotalTokens         uint32         `json:"total_tokens"`
	PromptTokensDetails *promptDetails `json:"prompt_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens uint32 `json:"cached_tokens"`
}

// total adds up the usage of several prompts; nil where an engine told none of one, since a zero would be a count.
func total(parts []*v1.Usage) *usage {
	sum := &usage{PromptTokensDetails: &promptDetails{}}
	for _, part := range parts {
		if part == nil {
			return nil
		}
		sum.PromptTokens += part.GetPromptTokens()
		sum.CompletionTokens += part.GetCompletionTokens()
		sum.PromptTokensDetails.CachedTokens += part.GetCachedTokens()
	}
	sum.TotalTokens = sum.PromptTokens + sum.CompletionTokens
	return sum
}

// noUsage is what the events of a stream carry that ends with the usage, as OpenAI has it.
var noUsage = json.RawMessage("null")

// finishOf gives OpenAI's word for an end; empty: not the end. An end that no client asked for is an error.
func finishOf(reason v1.FinishReason) (string, error) {
	switch reason {
	case v1.FinishReason_FINISH_REASON_UNSPECIFIED:
		return "", nil
	case v1.FinishReason_FINISH_REASON_STOP:
		return "stop", nil
	case v1.FinishReason_FINISH_REASON_LENGTH:
		return "length", nil
	case v1.FinishReason_FINISH_REASON_TOOL_CALLS:
		return "tool_calls", nil
	case v1.FinishReason_FINISH_REASON_CANCELLED:
		return "", &engine.Error{Status: enginev1.Status_STATUS_CANCELLED, Message: "The generation was cancelled."}
	case v1.FinishReason_FINISH_REASON_DEADLINE:
		return "", &engine.Error{Status: enginev1.Status_STATUS_DEADLINE_EXCEEDED,
			Message: "The generation's time ran out."}
	}
	return "", &engine.Error{Status: enginev1.Status_STATUS_INTERNAL, Message: "The generation ended in an unknown way."}
}
