package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// consulCallTimeout bounds one call to Consul; a watch may take consulWait more.
	consulCallTimeout = 3 * time.Second
	// consulAnswerBytesMax bounds an answer of Consul.
	consulAnswerBytesMax = 256 << 20
	// consulReasonBytesMax bounds what of a refusal is kept.
	consulReasonBytesMax = 512
)

// consulAPI makes calls of Consul's HTTP API.
type consulAPI struct {
	base   string
	token  string
	client *http.Client
}

// consulEntry is an entry of the key-value store. Value comes as base64, which json takes for []byte.
type consulEntry struct {
	Key     string
	Value   []byte
	Session string
}

func (api *consulAPI) put(ctx context.Context, path string, body, answer any) error {
	if body == nil {
		return api.putBytes(ctx, path, nil, answer)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("discovery: Consul: %w", err)
	}
	return api.putBytes(ctx, path, encoded, answer)
}

func (api *consulAPI) putBytes(ctx context.Context, path string, body []byte, answer any) error {
	return api.call(ctx, http.MethodPut, path, body, answer)
}

func (api *consulAPI) get(ctx context.Context, path string, answer any) error {
	return api.call(ctx, http.MethodGet, path, nil, answer)
}

// call reads answer from what comes back, where it is not nil.
func (api *consulAPI) call(ctx context.Context, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, consulCallTimeout)
	defer cancel()
	response, err := api.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refusalOf(method, path, response)
	}
	return readAnswer(response, answer)
}

// list reads the entries under path once the store's index is over index, or wait is over; and gives the index they had.
func (api *consulAPI) list(ctx context.Context, path string, index uint64, wait time.Duration) ([]consulEntry, uint64, error) {
	// Consul adds up to a sixteenth of the wait, so that not all watches end at once.
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+consulCallTimeout)
	defer cancel()
	query := fmt.Sprintf("?recurse=true&index=%d&wait=%s", index, wait)
	response, err := api.send(ctx, http.MethodGet, path+query, nil)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	// 404 says that there is no such key: an empty directory.
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNotFound {
		return nil, 0, refusalOf(http.MethodGet, path, response)
	}
	next, err := strconv.ParseUint(response.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil || next == 0 {
		return nil, 0, fmt.Errorf("discovery: Consul answered with the index %q", response.Header.Get("X-Consul-Index"))
	}
	var entries []consulEntry
	if response.StatusCode == http.StatusOK {
		err = readAnswer(response, &entries)
	}
	return entries, next, err
}

func (api *consulAPI) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, api.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("discovery: Consul: %w", err)
	}
	if api.token != "" {
		request.Header.Set("X-Consul-Token", api.token)
	}
	response, err := api.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("discovery: Consul: %w", err)
	}
	return response, nil
}

func readAnswer(response *http.Response, answer any) error {
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, consulAnswerBytesMax)).Decode(answer); err != nil {
		return fmt.Errorf("discovery: Consul's answer: %w", err)
	}
	return nil
}

func refusalOf(method, path string, response *http.Response) error {
	reason, _ := io.ReadAll(io.LimitReader(response.Body, consulReasonBytesMax))
	return fmt.Errorf("discovery: Consul answered %s %s with %d: %s", method, path, response.StatusCode, bytes.TrimSpace(reason))
}
