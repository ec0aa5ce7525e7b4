package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// message is one of a conversation.
type message struct {
	Role       string          `json:"role"`
	Content    content         `json:"content"`
	Name       string          `json:"name"`
	ToolCalls  json.RawMessage `json:"tool_calls"`
	ToolCallID string          `json:"tool_call_id"`
}

// content is a text: as a string, or as parts of type `text`, which are put together by line feeds.
type content string

// UnmarshalJSON reads a string, an array of parts, or null.
func (text *content) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	var whole string
	if json.Unmarshal(data, &whole) == nil {
		*text = content(whole)
		return nil
	}
	var parts []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	}
	if json.Unmarshal(data, &parts) != nil {
		return models.Invalid("messages", "A message's content must be a string or an array of parts.")
	}
	texts := make([]string, len(parts))
	for index, part := range parts {
		switch part.Type {
		case "text":
			texts[index] = part.Text
		case "refusal":
			texts[index] = part.Refusal
		default:
			return models.Invalid("messages", "A part of type %q is not supported; text is.", models.Shorten(part.Type))
		}
	}
	*text = content(strings.Join(texts, "\n"))
	return nil
}

// roles are those that OpenAI knows, and what chat templates call them.
var roles = map[string]string{
	"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
	"function": "tool",
}

// toMessages makes the pool's conversation.
func toMessages(messages []message) ([]*v1.Message, error) {
	if len(messages) == 0 || len(messages) > messagesMax {
		return nil, models.Invalid("messages", "messages must hold 1 to %d messages.", messagesMax)
	}
	converted := make([]*v1.Message, len(messages))
	for index, given := range messages {
		role, known := roles[given.Role]
		if !known {
			return nil, models.Invalid(fmt.Sprintf("messages.%d.role", index),
				"role must be system, developer, user, assistant or tool, not %q.", models.Shorten(given.Role))
		}
		converted[index] = &v1.Message{
			Role: role, Content: string(given.Content), Name: given.Name,
			ToolCallsJson: orEmpty(given.ToolCalls), ToolCallId: given.ToolCallID,
		}
	}
	return converted, nil
}

// orEmpty gives JSON as text; null and the absent are empty.
func orEmpty(value json.RawMessage) string {
	if bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
		return ""
	}
	return string(value)
}
