package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/models"
)

const (
	// answerBytesMax bounds an answer that is read whole.
	answerBytesMax = 256 << 20
	// probeBytesMax bounds what a health check, a list of models or a page of metrics may be.
	probeBytesMax = 8 << 20
	probeTimeout  = 2 * time.Second
	// refusalBytesMax is how much of an error's body is read for its message.
	refusalBytesMax = 64 << 10
)

// client speaks HTTP to one engine.
type client struct {
	baseURL     string
	key         string
	headTimeout time.Duration
	http        *http.Client
	// streams is how many generations the engine streams to this node at the moment.
	streams atomic.Int32
}

func newClient(configuration Configuration, key string, transport http.RoundTripper) *client {
	return &client{
		baseURL:     strings.TrimRight(configuration.URL, "/"),
		key:         key,
		headTimeout: configuration.headTimeout(),
		http: &http.Client{
			Transport: transport,
			// Followed, a redirect would take the key and the caller's words to an address that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func failed(status enginev1.Status, parameter, format string, arguments ...any) error {
	return &engine.Error{Status: status, Message: fmt.Sprintf(format, arguments...), Parameter: parameter}
}

// post sends a body and gives the answer once its head is there and says that it went well. The caller closes its body.
func (client *client) post(ctx context.Context, path, contentType string, header http.Header, body []byte) (*http.Response, error) {
	bounded, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(bounded, http.MethodPost, client.baseURL+path, bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, failed(enginev1.Status_STATUS_INTERNAL, "", "The call cannot be made: %s.", err)
	}
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("Content-Type", contentType)
	if client.key != "" {
		request.Header.Set("Authorization", "Bearer "+client.key)
	}
	timer := time.AfterFunc(client.headTimeout, func() { cancel(context.DeadlineExceeded) })
	response, err := client.http.Do(request)
	timer.Stop()
	if err != nil {
		cause := context.Cause(bounded)
		cancel(nil)
		return nil, unreachable(ctx, cause)
	}
	response.Body = &cancelledBody{ReadCloser: response.Body, cancel: cancel}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, refusal(response)
	}
	return response, nil
}

// cancelledBody ends its request when it is closed.
type cancelledBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (body *cancelledBody) Close() error {
	err := body.ReadCloser.Close()
	body.cancel(nil)
	return err
}

// unreachable tells why no answer came. The engine's address is not the caller's business.
func unreachable(ctx context.Context, cause error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return failed(enginev1.Status_STATUS_CANCELLED, "", "The call was cancelled.")
	case ctx.Err() != nil, errors.Is(cause, context.DeadlineExceeded):
		return failed(enginev1.Status_STATUS_DEADLINE_EXCEEDED, "", "The model's engine did not answer in time.")
	default:
		return failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine cannot be reached.")
	}
}

// refusal maps the engine's status; a message about the request is the caller's to read.
func refusal(response *http.Response) error {
	message := refusalMessage(response)
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return failed(enginev1.Status_STATUS_INVALID_ARGUMENT, "", "The model's engine refused the request: %s", message)
	case http.StatusNotFound:
		return failed(enginev1.Status_STATUS_MODEL_NOT_FOUND, "model", "The model's engine does not have it: %s", message)
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return failed(enginev1.Status_STATUS_UNSUPPORTED, "", "The model's engine cannot do this: %s", message)
	case http.StatusTooManyRequests:
		return failed(enginev1.Status_STATUS_OVERLOADED, "", "The model's engine is overloaded; try again.")
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return failed(enginev1.Status_STATUS_DEADLINE_EXCEEDED, "", "The model's engine did not answer in time.")
	case http.StatusUnauthorized, http.StatusForbidden:
		return failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine refused the key that this node uses for it.")
	default:
		return failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine failed (status %d).", response.StatusCode)
	}
}

// refusalMessage finds the sentence in the dialects of the engines: {"error": {"message"}}, {"error": "…"}, {"message"}.
func refusalMessage(response *http.Response) string {
	data, _ := io.ReadAll(io.LimitReader(response.Body, refusalBytesMax))
	var said struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(data, &said) == nil {
		var nested struct {
			Message string `json:"message"`
		}
		var text string
		switch {
		case json.Unmarshal(said.Error, &nested) == nil && nested.Message != "":
			return models.Shorten(nested.Message)
		case json.Unmarshal(said.Error, &text) == nil && text != "":
			return models.Shorten(text)
		case said.Message != "":
			return models.Shorten(said.Message)
		}
	}
	return fmt.Sprintf("status %d.", response.StatusCode)
}

// postJSON sends JSON and reads the answer whole, into answer.
func (client *client) postJSON(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return failed(enginev1.Status_STATUS_INTERNAL, "", "The call cannot be made: %s.", err)
	}
	response, err := client.post(ctx, path, "application/json", nil, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := readBounded(response.Body, answerBytesMax)
	if err != nil {
		return unreachable(ctx, err)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return failed(enginev1.Status_STATUS_UNAVAILABLE, "", "The model's engine gave an answer that cannot be read.")
	}
	return nil
}

var errTooLong = errors.New("the answer is too long")

func readBounded(body io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(data)) > most {
		err = errTooLong
	}
	return data, err
}

// probe GETs (or POSTs, with a body) an address within a short time; nil where it is not answered with 200.
func (client *client) probe(ctx context.Context, method, address string, body []byte) []byte {
	status, data := client.ask(ctx, method, address, body)
	if status != http.StatusOK {
		return nil
	}
	return data
}

// ask is probe that tells the status too, 0 where there was no answer.
func (client *client) ask(ctx context.Context, method, address string, body []byte) (status int, data []byte) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	if client.key != "" {
		request.Header.Set("Authorization", "Bearer "+client.key)
	}
	response, err := client.http.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	data, err = readBounded(response.Body, probeBytesMax)
	if err != nil {
		return 0, nil
	}
	if data == nil {
		data = []byte{}
	}
	return response.StatusCode, data
}

// probeJSON GETs JSON into answer and tells whether that went well.
func (client *client) probeJSON(ctx context.Context, path string, answer any) bool {
	data := client.probe(ctx, http.MethodGet, client.baseURL+path, nil)
	return data != nil && json.Unmarshal(data, answer) == nil
}
