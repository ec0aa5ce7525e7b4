package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// monitorBytesMax bounds an answer of NATS' monitoring.
const monitorBytesMax = 1 << 20

// ErrNotSynced means that NATS acknowledges messages before they are on disk.
var ErrNotSynced = errors.New("NATS does not write each message to disk before it acknowledges it, so that a power cut may " +
	"take accepted jobs with it: set `jetstream { sync_interval: always }` in its configuration (nats-server 2.10 or later)")

// VerifySync asks a NATS server, by its monitoring address (such as http://127.0.0.1:8222), whether it writes each message
// to disk before it acknowledges it (`sync_interval: always`). Without that, a power cut may take acknowledged jobs of the
// last two minutes; what clients can ask by NATS itself does not tell. nil: it does; ErrNotSynced: it does not.
func VerifySync(ctx context.Context, client *http.Client, monitor string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(monitor, "/")+"/varz", nil)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("jobs: NATS' monitoring cannot be asked: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("jobs: NATS' monitoring at %s answers %s", monitor, response.Status)
	}
	var facts struct {
		JetStream struct {
			Config struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, monitorBytesMax)).Decode(&facts); err != nil {
		return fmt.Errorf("jobs: NATS' monitoring at %s does not answer as NATS does: %w", monitor, err)
	}
	if !facts.JetStream.Config.SyncAlways {
		return fmt.Errorf("jobs: %w", ErrNotSynced)
	}
	return nil
}
