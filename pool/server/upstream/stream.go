package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	// eventBytesMax bounds one server-sent event.
	eventBytesMax = 4 << 20
	// silenceMax is how long a stream may say nothing.
	silenceMax = 120 * time.Second
)

// streamChunk is one event of OpenAI's stream, chat or text.
type streamChunk struct {
	Choices []struct {
		Index        uint32  `json:"index"`
		Text         string  `json:"text"`
		FinishReason *string `json:"finish_reason"`
		Delta        struct {
			Content string `json:"content"`
		} `json:"delta"`
		Logprobs *streamLogprobs `json:"logprobs"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     uint32 `json:"prompt_tokens"`
		CompletionTokens uint32 `json:"completion_tokens"`
		Details          struct {
			CachedTokens uint32 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

type streamLogprobs struct {
	Content []struct {
		chosenToken
		Top []chosenToken `json:"top_logprobs"`
	} `json:"content"`
}

type chosenToken struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
}

// generate streams a completion. The last message carries the usage, as GenerateResponse has it.
func generate(ctx context.Context, client *client, request *v1.GenerateRequest, send func(*v1.GenerateResponse) error) error {
	asked, path, err := question(request)
	if err != nil {
		return err
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return failed(enginev1.Status_STATUS_INTERNAL, "", "The call cannot be made: %s.", err)
	}
	response, err := client.post(ctx, path, "application/json", nil, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// A stream that falls silent is closed, which ends the read below.
	silence := time.AfterFunc(silenceMax, func() { _ = response.Body.Close() })
	defer silence.Stop()

	client.streams.Add(1)
	defer client.streams.Add(-1)

	passed := &passage{send: send, model: request.Model, open: map[uint32]bool{}}
	err = events(response.Body, func(data []byte) error {
		silence.Reset(silenceMax)
		return passed.chunk(data)
	})
	switch {
	case errors.Is(err, errStreamEnded) && len(passed.open) == 0:
		// Without usage where the engine told none: a zero would be a count.
		return send(&v1.GenerateResponse{Usage: passed.usage})
	case passed.err != nil:
		return passed.err
	case ctx.Err() != nil:
		return unreachable(ctx, ctx.Err())
	default:
		return failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine broke its answer off.")
	}
}

var errStreamEnded = errors.New("the stream has ended")

// events gives the data of each server-sent event, and errStreamEnded at [DONE].
func events(body io.Reader, visit func(data []byte) error) error {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(make([]byte, 0, 64<<10), eventBytesMax)
	for scanner.Scan() {
		data, isData := bytes.CutPrefix(scanner.Bytes(), []byte("data:"))
		data = bytes.TrimSpace(data)
		if !isData || len(data) == 0 {
			continue
		}
		if bytes.Equal(data, []byte("[DONE]")) {
			return errStreamEnded
		}
		if err := visit(data); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// passage turns the engine's chunks into the pool's messages.
type passage struct {
	send  func(*v1.GenerateResponse) error
	model string
	begun bool
	// open holds the choices that have begun and have told no reason for their end. [DONE] while there are some is no end:
	// llama.cpp's server for Python sends it when another call interrupts one.
	open map[uint32]bool
	// usage is nil as long as the engine has told none.
	usage *v1.Usage
	// err is a failure that is ours to tell, not the stream's.
	err error
}

func (passage *passage) chunk(data []byte) error {
	var chunk streamChunk
	if err := json.Unmarshal(data, &chunk); err != nil {
		return err
	}
	if len(chunk.Error) > 0 && string(chunk.Error) != "null" {
		passage.err = failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine failed in the middle of its answer.")
		return passage.err
	}
	if chunk.Usage != nil {
		passage.usage = &v1.Usage{
			PromptTokens: chunk.Usage.PromptTokens, CompletionTokens: chunk.Usage.CompletionTokens,
			CachedTokens: chunk.Usage.Details.CachedTokens,
		}
	}
	for _, choice := range chunk.Choices {
		message := &v1.GenerateResponse{Index: choice.Index, Text: choice.Delta.Content + choice.Text}
		if choice.FinishReason != nil {
			message.FinishReason = finishReason(*choice.FinishReason)
			delete(passage.open, choice.Index)
		} else {
			passage.open[choice.Index] = true
		}
		if choice.Logprobs != nil {
			message.Logprobs = logprobs(choice.Logprobs)
		}
		if message.Text == "" && message.FinishReason == 0 && len(message.Logprobs) == 0 {
			continue
		}
		if !passage.begun {
			passage.begun, message.Model = true, passage.model
		}
		if passage.err = passage.send(message); passage.err != nil {
			return passage.err
		}
	}
	return nil
}

func finishReason(text string) v1.FinishReason {
	if text == "length" {
		return v1.FinishReason_FINISH_REASON_LENGTH
	}
	return v1.FinishReason_FINISH_REASON_STOP
}

func logprobs(given *streamLogprobs) []*v1.TokenLogprob {
	var made []*v1.TokenLogprob
	for _, token := range given.Content {
		one := &v1.TokenLogprob{Piece: []byte(token.Token), Logprob: token.Logprob}
		for _, top := range token.Top {
			one.Top = append(one.Top, &v1.TokenLogprob_Top{Piece: []byte(top.Token), Logprob: top.Logprob})
		}
		made = append(made, one)
	}
	return made
}
