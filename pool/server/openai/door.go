// Package openai answers OpenAI's API: chat and text completions, embeddings, models, and `/v1/rerank` beside them. What
// OpenAI does not name (`top_k`, `min_p`, `repetition_penalty`, `ignore_eos`, `cache_salt`) is named as vLLM names it.
package openai

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	"treeline.dev/pool/models"
)

const (
	// messagesMax bounds the messages of a conversation.
	messagesMax = 2048
	// promptsMax bounds the prompts of one call of /v1/completions; they run at once.
	promptsMax = 32
	// choicesMax bounds `n`, a prompt.
	choicesMax = 16
	// inputsMax bounds the texts of one call of /v1/embeddings, as OpenAI does.
	inputsMax = 2048
	// documentsMax bounds the documents of one call of /v1/rerank.
	documentsMax = 2048
	// stopsMax and stopBytesMax bound `stop`.
	stopsMax, stopBytesMax = 16, 256
	// topLogprobsMax bounds `top_logprobs`, and `logprobs` of /v1/completions.
	topLogprobsMax = 20
	// logitBiasMax bounds the tokens of `logit_bias`.
	logitBiasMax = 1024
)

// Door answers under /v1.
type Door struct {
	// Models answers the calls.
	Models models.Provider
	// Bounds limit what a request may be.
	Bounds door.Bounds
	// Now is the clock.
	Now func() time.Time
	// StartedAt is when the node started: `created` of its models.
	StartedAt time.Time
	// NewID makes the random part of an answer's id.
	NewID func() string
}

// Mount adds the door's routes.
func (openai *Door) Mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/chat/completions", answering(openai.chat))
	mux.HandleFunc("POST /v1/completions", answering(openai.completions))
	mux.HandleFunc("POST /v1/embeddings", answering(openai.embeddings))
	mux.HandleFunc("POST /v1/rerank", answering(openai.rerank))
	mux.HandleFunc("GET /v1/models", answering(openai.listModels))
	mux.HandleFunc("GET /v1/models/{model...}", answering(openai.getModel))
	// What is left under /v1 is answered in the same dialect.
	mux.HandleFunc("/v1/", func(writer http.ResponseWriter, request *http.Request) {
		writeFailure(writer, door.NoRoute(request, mux))
	})
}

// errorBody is OpenAI's form of a failure.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

func bodyOf(failure models.Failure) errorBody {
	detail := errorDetail{Message: failure.Message, Type: failure.Type, Code: failure.Code}
	if failure.Parameter != "" {
		detail.Param = &failure.Parameter
	}
	return errorBody{detail}
}

func writeFailure(writer http.ResponseWriter, err error) {
	failure := models.Describe(err)
	door.WriteFailure(writer, failure, bodyOf(failure))
}

// answering makes a handler of a function that fails with an error as long as nothing was answered.
func answering(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		if err := handle(writer, request); err != nil {
			writeFailure(writer, err)
		}
	}
}

// read reads the body. encoding/json puts the name of the embedded struct into a field's path; clients know no such field.
func (openai *Door) read(writer http.ResponseWriter, request *http.Request, body any) error {
	err := door.ReadJSON(writer, request, openai.Bounds, body)
	var refused *engine.Error
	if errors.As(err, &refused) {
		if field, isEmbedded := strings.CutPrefix(refused.Parameter, "generation."); isEmbedded {
			return models.Invalid(field, "%s", strings.Replace(refused.Message, refused.Parameter, field, 1))
		}
	}
	return err
}
