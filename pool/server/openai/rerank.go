package openai

import (
	"encoding/json"
	"net/http"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// rerankRequest is the body of /v1/rerank, as Cohere and Jina have it.
type rerankRequest struct {
	Model           string     `json:"model"`
	Query           string     `json:"query"`
	Documents       []document `json:"documents"`
	TopN            *int64     `json:"top_n"`
	ReturnDocuments bool       `json:"return_documents"`
}

// document is a text, as a string or as an object with `text`.
type document struct {
	Text string `json:"text"`
}

// UnmarshalJSON reads both forms.
func (one *document) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &one.Text) == nil {
		return nil
	}
	var object struct {
		Text *string `json:"text"`
	}
	if json.Unmarshal(data, &object) != nil || object.Text == nil {
		return models.Invalid("documents", "A document must be a string or an object with text.")
	}
	one.Text = *object.Text
	return nil
}

type rerankAnswer struct {
	ID      string         `json:"id"`
	Object  string         `json:"object"`
	Model   string         `json:"model"`
	Results []rerankResult `json:"results"`
	Usage   embeddingUsage `json:"usage"`
}

type rerankResult struct {
	Index          uint32    `json:"index"`
	RelevanceScore float64   `json:"relevance_score"`
	Document       *document `json:"document,omitempty"`
}

func (body *rerankRequest) toRequest() (*v1.RerankRequest, error) {
	if body.Model == "" {
		return nil, models.Invalid("model", "model must name a model.")
	}
	if body.Query == "" {
		return nil, models.Invalid("query", "query must not be empty.")
	}
	if len(body.Documents) == 0 || len(body.Documents) > documentsMax {
		return nil, models.Invalid("documents", "documents must hold 1 to %d documents.", documentsMax)
	}
	top, err := whole("top_n", body.TopN, 1, documentsMax, 0)
	if err != nil {
		return nil, err
	}
	request := &v1.RerankRequest{Model: body.Model, Query: body.Query, TopN: uint32(top)}
	for _, one := range body.Documents {
		request.Documents = append(request.Documents, one.Text)
	}
	return request, nil
}

func (openai *Door) rerank(writer http.ResponseWriter, request *http.Request) error {
	var body rerankRequest
	if err := openai.read(writer, request, &body); err != nil {
		return err
	}
	call, err := body.toRequest()
	if err != nil {
		return err
	}
	answer, err := openai.Models.Rerank(request.Context(), call)
	if err != nil {
		return err
	}
	tokens := answer.GetUsage().GetPromptTokens()
	shown := rerankAnswer{
		ID: "rerank-" + openai.NewID(), Object: "list", Model: body.Model, Results: []rerankResult{},
		Usage: embeddingUsage{PromptTokens: tokens, TotalTokens: tokens},
	}
	for _, ranked := range answer.GetResults() {
		if int(ranked.GetIndex()) >= len(body.Documents) {
			return &engine.Error{Status: enginev1.Status_STATUS_INTERNAL, Message: "The model ranked an unknown document."}
		}
		result := rerankResult{Index: ranked.GetIndex(), RelevanceScore: ranked.GetRelevanceScore()}
		if body.ReturnDocuments {
			result.Document = &body.Documents[ranked.GetIndex()]
		}
		shown.Results = append(shown.Results, result)
	}
	door.WriteJSON(writer, http.StatusOK, shown)
	return nil
}
