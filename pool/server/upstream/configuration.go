package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"time"
)

const (
	configurationBytesMax = 1 << 20
	upstreamsMax          = 256
	headTimeoutDefault    = 120 * time.Second
)

// Kind is an engine made by others.
type Kind string

// The engines that are known.
const (
	VLLM     Kind = "vllm"
	TEI      Kind = "tei"
	Triton   Kind = "triton"
	Ollama   Kind = "ollama"
	LlamaCPP Kind = "llama.cpp"
)

// Configuration is one engine, as the file names it.
type Configuration struct {
	// Name is unique on the node: the provider's name.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// URL is the engine's base address, without /v1 or /v2.
	URL string `json:"url"`
	// MetricsURL is where its Prometheus metrics are, where that is another port (Triton: 8002); empty: URL + /metrics.
	MetricsURL string `json:"metrics_url,omitempty"`
	// APIKeyEnvironment names the variable that holds the engine's key; the file holds no secret.
	APIKeyEnvironment string `json:"api_key_environment,omitempty"`
	// Models restricts which of its models are offered; empty: all.
	Models []string `json:"models,omitempty"`
	// HeadTimeoutSeconds is how long it may take to begin its answer; 0: 120.
	HeadTimeoutSeconds int `json:"head_timeout_seconds,omitempty"`
}

type file struct {
	Upstreams []Configuration `json:"upstreams"`
}

var upstreamName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

// Read reads the file of upstreams: {"upstreams": [{"name": "vllm-1", "kind": "vllm", "url": "http://10.0.0.7:8000"}]}.
func Read(path string) ([]Configuration, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	defer opened.Close()
	decoder := json.NewDecoder(io.LimitReader(opened, configurationBytesMax))
	decoder.DisallowUnknownFields()
	var read file
	if err := decoder.Decode(&read); err != nil {
		return nil, fmt.Errorf("upstream: %s is not a file of upstreams: %w", path, err)
	}
	if len(read.Upstreams) > upstreamsMax {
		return nil, fmt.Errorf("upstream: %s names %d engines, %d at most", path, len(read.Upstreams), upstreamsMax)
	}
	for index, configuration := range read.Upstreams {
		if err := configuration.check(); err != nil {
			return nil, fmt.Errorf("upstream: %s, upstreams[%d]: %w", path, index, err)
		}
	}
	return read.Upstreams, nil
}

func (configuration Configuration) check() error {
	if !upstreamName.MatchString(configuration.Name) {
		return errors.New("name must be 1 to 64 lower-case letters, digits, dots and dashes")
	}
	if _, known := engines[configuration.Kind]; !known {
		return fmt.Errorf("kind must be vllm, tei, triton, ollama or llama.cpp, not %q", configuration.Kind)
	}
	for name, address := range map[string]string{"url": configuration.URL, "metrics_url": configuration.MetricsURL} {
		if name == "metrics_url" && address == "" {
			continue
		}
		parsed, err := url.Parse(address)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" || parsed.User != nil {
			return fmt.Errorf("%s must be an http or https address without a user name", name)
		}
	}
	if configuration.HeadTimeoutSeconds < 0 || configuration.HeadTimeoutSeconds > 3_600 {
		return errors.New("head_timeout_seconds must be 0 to 3600")
	}
	return nil
}

func (configuration Configuration) headTimeout() time.Duration {
	if configuration.HeadTimeoutSeconds == 0 {
		return headTimeoutDefault
	}
	return time.Duration(configuration.HeadTimeoutSeconds) * time.Second
}
