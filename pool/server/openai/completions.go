package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// completionTokensDefault is OpenAI's limit of tokens where /v1/completions is given none.
const completionTokensDefault = 16

// errChoice is a provider that continues a choice that nobody asked for.
var errChoice = &engine.Error{
	Status: enginev1.Status_STATUS_INTERNAL, Message: "The model answered with a choice that was not asked for.",
}

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	generation
	Prompt   prompts         `json:"prompt"`
	Logprobs *int64          `json:"logprobs"`
	Echo     bool            `json:"echo"`
	BestOf   *int64          `json:"best_of"`
	Suffix   json.RawMessage `json:"suffix"`
}

// prompts are texts, or token ids.
type prompts []prompt

type prompt struct {
	text   *string
	tokens []uint32
}

// UnmarshalJSON reads a string, an array of strings, an array of token ids, or an array of such arrays.
func (list *prompts) UnmarshalJSON(data []byte) error {
	inputs, err := parseInputs("prompt", data)
	if err != nil {
		return err
	}
	for _, text := range inputs.texts {
		*list = append(*list, prompt{text: &text})
	}
	for _, tokens := range inputs.tokens {
		*list = append(*list, prompt{tokens: tokens})
	}
	return nil
}

type completion struct {
	head
	Choices []textChoice `json:"choices"`
	Usage   any          `json:"usage,omitempty"`
}

type textChoice struct {
	Index        int           `json:"index"`
	Text         string        `json:"text"`
	Logprobs     *textLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

// toRequests checks the body and makes one request of the pool's a prompt.
func (body *completionRequest) toRequests() ([]*v1.GenerateRequest, error) {
	shared, err := body.generation.toRequest()
	if err != nil {
		return nil, err
	}
	if len(body.Prompt) == 0 || len(body.Prompt) > promptsMax {
		return nil, models.Invalid("prompt", "prompt must hold 1 to %d prompts.", promptsMax)
	}
	if orEmpty(body.Suffix) != "" {
		return nil, models.Invalid("suffix", "suffix is not supported.")
	}
	if body.BestOf != nil && *body.BestOf != int64(shared.GetN()) {
		return nil, models.Invalid("best_of", "best_of is not supported, unless it equals n.")
	}
	if shared.MaxTokens, err = limitOf("max_tokens", body.MaxTokens); err != nil {
		return nil, err
	}
	if shared.MaxTokens == nil {
		limit := uint32(completionTokensDefault)
		shared.MaxTokens = &limit
	}
	if body.Logprobs != nil {
		top, err := whole("logprobs", body.Logprobs, 0, topLogprobsMax, 0)
		if err != nil {
			return nil, err
		}
		count := uint32(top)
		shared.TopLogprobs = &count
	}
	shared.Echo = body.Echo
	requests := make([]*v1.GenerateRequest, len(body.Prompt))
	for index, prompt := range body.Prompt {
		requests[index] = proto.Clone(shared).(*v1.GenerateRequest)
		requests[index].Prompt = prompt.text
		if prompt.text == nil {
			requests[index].PromptTokens = &v1.TokenIds{Ids: prompt.tokens}
		}
	}
	return requests, nil
}

func (openai *Door) completions(writer http.ResponseWriter, request *http.Request) error {
	var body completionRequest
	if err := openai.read(writer, request, &body); err != nil {
		return err
	}
	calls, err := body.toRequests()
	if err != nil {
		return err
	}
	priority, err := door.PriorityOf(request)
	if err != nil {
		return err
	}
	for _, call := range calls {
		call.Priority = priority
	}
	begin := head{
		ID: "cmpl-" + openai.NewID(), Object: "text_completion", Created: openai.Now().Unix(), Model: body.Model,
	}
	if body.Stream {
		return openai.streamCompletions(request.Context(), writer, &body, calls, begin)
	}
	return openai.wholeCompletions(request.Context(), writer, calls, begin)
}

func (openai *Door) wholeCompletions(
	ctx context.Context, writer http.ResponseWriter, calls []*v1.GenerateRequest, begin head,
) error {
	n := int(calls[0].GetN())
	choices := make([]collected, n*len(calls))
	used := make([]*v1.Usage, len(calls))
	group, ctx := errgroup.WithContext(ctx)
	for index, call := range calls {
		group.Go(func() (err error) {
			used[index], err = openai.collect(ctx, call, choices[index*n:(index+1)*n])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	answer := completion{head: begin, Usage: total(used)}
	for index := range choices {
		choice := &choices[index]
		logprobs, _ := toTextLogprobs(choice.logprobs, 0)
		answer.Choices = append(answer.Choices, textChoice{
			Index: index, Text: choice.text.String(), Logprobs: logprobs, FinishReason: &choice.finish,
		})
	}
	door.WriteJSON(writer, http.StatusOK, answer)
	return nil
}

func (openai *Door) streamCompletions(
	ctx context.Context, writer http.ResponseWriter, body *completionRequest, calls []*v1.GenerateRequest, begin head,
) error {
	n := int(calls[0].GetN())
	chunks := textStream{
		stream: newEventStream(writer), head: begin, offsets: make([]int, n*len(calls)),
		used:      make([]*v1.Usage, len(calls)),
		withUsage: body.StreamOptions != nil && body.StreamOptions.IncludeUsage,
	}
	group, ctx := errgroup.WithContext(ctx)
	for index, call := range calls {
		group.Go(func() error {
			return openai.Models.Generate(ctx, call, func(piece *v1.GenerateResponse) error {
				return chunks.piece(index, n, piece)
			})
		})
	}
	err := group.Wait()
	if used := total(chunks.used); err == nil && chunks.withUsage && used != nil {
		err = chunks.stream.event(completion{head: begin, Choices: []textChoice{}, Usage: used})
	}
	return chunks.stream.end(err)
}

// textStream turns the pieces of several generations into events of one stream.
type textStream struct {
	mutex     sync.Mutex
	stream    *eventStream
	head      head
	offsets   []int
	used      []*v1.Usage
	withUsage bool
}

// piece sends a piece of prompt number `number`, each of which has n choices.
func (chunks *textStream) piece(number, n int, piece *v1.GenerateResponse) error {
	chunks.mutex.Lock()
	defer chunks.mutex.Unlock()
	if piece.GetUsage() != nil {
		chunks.used[number] = piece.GetUsage()
	}
	if int(piece.GetIndex()) >= n {
		return errChoice
	}
	finish, err := finishOf(piece.GetFinishReason())
	if err != nil {
		return err
	}
	if piece.GetText() == "" && finish == "" && len(piece.GetLogprobs()) == 0 {
		return nil
	}
	choice := textChoice{Index: number*n + int(piece.GetIndex()), Text: piece.GetText()}
	choice.Logprobs, chunks.offsets[choice.Index] = toTextLogprobs(piece.GetLogprobs(), chunks.offsets[choice.Index])
	if finish != "" {
		choice.FinishReason = &finish
	}
	chunk := completion{head: chunks.head, Choices: []textChoice{choice}}
	if chunks.withUsage {
		chunk.Usage = noUsage
	}
	return chunks.stream.event(chunk)
}
