package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"treeline.dev/pool/door"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/toolcalls"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	generation
	Messages            []message       `json:"messages"`
	MaxCompletionTokens *int64          `json:"max_completion_tokens"`
	Logprobs            bool            `json:"logprobs"`
	TopLogprobs         *int64          `json:"top_logprobs"`
	Tools               json.RawMessage `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ParallelToolCalls   *bool           `json:"parallel_tool_calls"`
	Functions           json.RawMessage `json:"functions"`
	Audio               json.RawMessage `json:"audio"`
}

// head is what the whole answer and each event begin with.
type head struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

type chatCompletion struct {
	head
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatMessage   `json:"message"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`
}

type chatMessage struct {
	Role string `json:"role"`
	// Content is null where tools are called and nothing else is said.
	Content   *string    `json:"content"`
	Refusal   *string    `json:"refusal"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

type chatChunk struct {
	head
	Choices []chatDelta `json:"choices"`
	// Usage is left out, null, or the usage, as OpenAI has it.
	Usage any `json:"usage,omitempty"`
}

type chatDelta struct {
	Index        int           `json:"index"`
	Delta        delta         `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type delta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

// toRequest checks the body and makes the pool's request of it.
func (body *chatRequest) toRequest() (*v1.GenerateRequest, error) {
	request, err := body.generation.toRequest()
	if err != nil {
		return nil, err
	}
	if request.Messages, err = toMessages(body.Messages); err != nil {
		return nil, err
	}
	if orEmpty(body.Functions) != "" || orEmpty(body.Audio) != "" {
		return nil, models.Invalid("", "functions and audio are not supported; use tools, and text.")
	}
	limit, err := limitOf("max_completion_tokens", body.MaxCompletionTokens)
	if err == nil && limit == nil {
		limit, err = limitOf("max_tokens", body.MaxTokens)
	}
	if err != nil {
		return nil, err
	}
	request.MaxTokens = limit
	if err := body.putTools(request); err != nil {
		return nil, err
	}
	request.TopLogprobs, err = body.toTopLogprobs()
	return request, err
}

func (body *chatRequest) toTopLogprobs() (*uint32, error) {
	top, err := whole("top_logprobs", body.TopLogprobs, 0, topLogprobsMax, 0)
	if err != nil {
		return nil, err
	}
	if !body.Logprobs {
		if top > 0 {
			return nil, models.Invalid("top_logprobs", "top_logprobs needs logprobs to be true.")
		}
		return nil, nil
	}
	count := uint32(top)
	return &count, nil
}

func (openai *Door) chat(writer http.ResponseWriter, request *http.Request) error {
	var body chatRequest
	if err := openai.read(writer, request, &body); err != nil {
		return err
	}
	call, err := body.toRequest()
	if err != nil {
		return err
	}
	if call.Priority, err = door.PriorityOf(request); err != nil {
		return err
	}
	begin := head{ID: "chatcmpl-" + openai.NewID(), Created: openai.Now().Unix(), Model: body.Model}
	if body.Stream {
		return openai.streamChat(request.Context(), writer, &body, call, begin)
	}
	return openai.wholeChat(request.Context(), writer, call, begin)
}

// collected is a choice as it grows.
type collected struct {
	text     strings.Builder
	calls    []*v1.ToolCallDelta
	logprobs []*v1.TokenLogprob
	finish   string
}

func (openai *Door) wholeChat(
	ctx context.Context, writer http.ResponseWriter, call *v1.GenerateRequest, begin head,
) error {
	choices := make([]collected, call.GetN())
	used, err := openai.collect(ctx, call, choices)
	if err != nil {
		return err
	}
	begin.Object = "chat.completion"
	answer := chatCompletion{head: begin, Usage: total([]*v1.Usage{used})}
	for index := range choices {
		choice := &choices[index]
		answer.Choices = append(answer.Choices, chatChoice{
			Index: index, Message: choice.message(), Logprobs: toChatLogprobs(choice.logprobs),
			FinishReason: choice.finish,
		})
	}
	door.WriteJSON(writer, http.StatusOK, answer)
	return nil
}

// message is the whole choice; its content is null where it only calls tools.
func (choice *collected) message() chatMessage {
	said := chatMessage{Role: "assistant"}
	if text := choice.text.String(); text != "" || len(choice.calls) == 0 {
		said.Content = &text
	}
	for _, call := range choice.calls {
		said.ToolCalls = append(said.ToolCalls, toToolCall(call))
	}
	return said
}

// collect runs a generation to its end, into one entry of `choices` each.
func (openai *Door) collect(
	ctx context.Context, call *v1.GenerateRequest, choices []collected,
) (used *v1.Usage, err error) {
	for index := range choices {
		choices[index].finish = "stop"
	}
	err = openai.Models.Generate(ctx, call, func(piece *v1.GenerateResponse) error {
		if piece.GetUsage() != nil {
			used = piece.GetUsage()
		}
		if int(piece.GetIndex()) >= len(choices) {
			return errChoice
		}
		choice := &choices[piece.GetIndex()]
		choice.text.WriteString(piece.GetText())
		choice.calls = toolcalls.Gather(choice.calls, piece.GetToolCalls())
		choice.logprobs = append(choice.logprobs, piece.GetLogprobs()...)
		finish, err := finishOf(piece.GetFinishReason())
		if finish != "" {
			choice.finish = finish
		}
		return err
	})
	return used, err
}

func (openai *Door) streamChat(
	ctx context.Context, writer http.ResponseWriter, body *chatRequest, call *v1.GenerateRequest, begin head,
) error {
	begin.Object = "chat.completion.chunk"
	chunks := chatStream{
		stream: newEventStream(writer), head: begin, hasRole: make([]bool, call.GetN()),
		withUsage: body.StreamOptions != nil && body.StreamOptions.IncludeUsage,
	}
	err := openai.Models.Generate(ctx, call, chunks.piece)
	if err == nil {
		err = chunks.finish()
	}
	return chunks.stream.end(err)
}

// chatStream turns the pieces of a generation into events.
type chatStream struct {
	stream    *eventStream
	head      head
	hasRole   []bool
	withUsage bool
	used      *v1.Usage
}

func (chunks *chatStream) piece(piece *v1.GenerateResponse) error {
	if piece.GetUsage() != nil {
		chunks.used = piece.GetUsage()
	}
	index := int(piece.GetIndex())
	if index >= len(chunks.hasRole) {
		return errChoice
	}
	if err := chunks.role(index); err != nil {
		return err
	}
	finish, err := finishOf(piece.GetFinishReason())
	if err != nil {
		return err
	}
	text, calls := piece.GetText(), toToolCallChunks(piece.GetToolCalls())
	if text == "" && finish == "" && len(calls) == 0 && len(piece.GetLogprobs()) == 0 {
		return nil
	}
	choice := chatDelta{Index: index, Logprobs: toChatLogprobs(piece.GetLogprobs()), Delta: delta{ToolCalls: calls}}
	if text != "" || len(piece.GetLogprobs()) > 0 && len(calls) == 0 {
		choice.Delta.Content = &text
	}
	if finish != "" && len(calls) > 0 {
		// Clients end a call at an event after it.
		if err := chunks.send([]chatDelta{choice}); err != nil {
			return err
		}
		choice = chatDelta{Index: index}
	}
	if finish != "" {
		choice.FinishReason = &finish
	}
	return chunks.send([]chatDelta{choice})
}

// role sends the first event of a choice: who speaks.
func (chunks *chatStream) role(index int) error {
	if chunks.hasRole[index] {
		return nil
	}
	chunks.hasRole[index] = true
	var nothing string
	return chunks.send([]chatDelta{{Index: index, Delta: delta{Role: "assistant", Content: &nothing}}})
}

func (chunks *chatStream) send(choices []chatDelta) error {
	chunk := chatChunk{head: chunks.head, Choices: choices}
	if chunks.withUsage {
		chunk.Usage = noUsage
	}
	return chunks.stream.event(chunk)
}

// finish sends the usage where the client asked for it and the engine told it.
func (chunks *chatStream) finish() error {
	usage := total([]*v1.Usage{chunks.used})
	if !chunks.withUsage || usage == nil {
		return nil
	}
	return chunks.stream.event(chatChunk{head: chunks.head, Choices: []chatDelta{}, Usage: usage})
}
