package jobs

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/tlsfiles"
	"treeline.dev/pool/tlsfiles/localauthority"
)

// The whole service by Connect, with NATS behind it by mutual TLS.
func TestJobsAreServedByConnectOverMutualTLSToNATS(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if _, err := localauthority.Ensure(localauthority.Request{Folder: folder, Hosts: []string{"127.0.0.1"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(folder, name) }
	nats := startNATS(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }",
		path("server.crt"), path("server.key"), path("ca.crt")))
	files, err := tlsfiles.Open(tlsfiles.Options{Certificate: path("client.crt"), Key: path("client.key"), Authority: path("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	options := quick("tls" + nats.url[len("nats"):])
	options.TLS = files.Client("")
	options.Caller = callerFunc(answering)
	service := NewService(openQueue(t, options), func(err error) error {
		return connect.NewError(connect.CodeInvalidArgument, err)
	})
	mux := http.NewServeMux()
	mux.Handle(treelinev1connect.NewJobServiceHandler(service))
	server := httptest.NewServer(mux)
	defer server.Close()
	client := treelinev1connect.NewJobServiceClient(http.DefaultClient, server.URL)

	submitted, err := client.SubmitJob(t.Context(), connect.NewRequest(embedJob("key", "hello", "")))
	if err != nil {
		t.Fatal(err)
	}
	id := submitted.Msg.GetId()
	stream, err := client.WatchJob(t.Context(), connect.NewRequest(&v1.WatchJobRequest{Id: id}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var states []v1.JobState
	for stream.Receive() {
		states = append(states, stream.Msg().GetState())
	}
	if len(states) == 0 || states[len(states)-1] != v1.JobState_JOB_STATE_SUCCEEDED || stream.Err() != nil {
		t.Errorf("watched %v, %v", states, stream.Err())
	}
	got, err := client.GetJob(t.Context(), connect.NewRequest(&v1.GetJobRequest{Id: id}))
	if err != nil || string(got.Msg.GetEmbedded().GetVectors()) != "hello" {
		t.Errorf("%v, %v", got, err)
	}
	cancelled, err := client.CancelJob(t.Context(), connect.NewRequest(&v1.CancelJobRequest{Id: id}))
	if err != nil || cancelled.Msg.GetState() != v1.JobState_JOB_STATE_SUCCEEDED {
		t.Errorf("what has ended cannot be cancelled: %v, %v", cancelled, err)
	}
	if _, err := client.GetJob(t.Context(), connect.NewRequest(&v1.GetJobRequest{Id: idOf("other")})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown job: %v", err)
	}
	var refused *connect.Error
	if _, err := client.SubmitJob(t.Context(), connect.NewRequest(&v1.SubmitJobRequest{})); !errors.As(err, &refused) || refused.Code() != connect.CodeInvalidArgument {
		t.Errorf("no job: %v", err)
	}
}
