package discovery

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
)

func TestWithoutARegistryThisNodeIsTheDirectory(t *testing.T) {
	t.Parallel()
	var membership Membership = NewStatic()
	if listed := ids(membership, ""); listed != "" {
		t.Errorf("listed before it was published: %s", listed)
	}
	membership.Publish(testNode("one", "small"))
	if ids(membership, "") != "one " || ids(membership, "small") != "one " || ids(membership, "large") != "" {
		t.Error("the node is not listed as it is")
	}
	if err := membership.Withdraw(t.Context()); err != nil || ids(membership, "") != "" {
		t.Errorf("listed after it was withdrawn: %v", err)
	}
}

func TestAModelThatIsNotReadyIsNotServed(t *testing.T) {
	t.Parallel()
	node := testNode("one", "small")
	node.Models[0].State = v1.ModelState_MODEL_STATE_LOADING
	if serves(node, "small") {
		t.Error("a model that loads is served")
	}
}

func TestEntriesThatCannotBeReadAreLeftOut(t *testing.T) {
	t.Parallel()
	nodes := newNodes(slog.New(slog.DiscardHandler))
	nodes.replace(map[string][]byte{
		"good":    []byte(`{"id":"good","fieldOfANewerVersion":1}`),
		"bad":     []byte(`{"id":`),
		"other":   []byte(`{"id":"somebody else"}`),
		"large":   []byte(`{"id":"large","version":"` + strings.Repeat("x", entryBytesMax) + `"}`),
		"nothing": nil,
	})
	if listed := nodes.list("", nil); len(listed) != 1 || listed[0].GetId() != "good" {
		t.Errorf("%v", listed)
	}
	nodes.put("good", []byte("broken now"))
	if listed := nodes.list("", nil); len(listed) != 0 {
		t.Errorf("%v", listed)
	}
}

func FuzzAnEntryNeverBreaksTheDirectory(f *testing.F) {
	f.Add([]byte(`{"id":"a","models":[{"name":"m","state":"MODEL_STATE_READY"}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, value []byte) {
		nodes := newNodes(slog.New(slog.DiscardHandler))
		nodes.put("a", value)
		for _, node := range nodes.list("m", nil) {
			if node.GetId() != "a" {
				t.Errorf("%q makes the node %v", value, node)
			}
		}
	})
}

func TestOnlyLoadCanWait(t *testing.T) {
	t.Parallel()
	before := testNode("one", "small")
	busy := testNode("one", "small")
	busy.Load.Running = 1
	draining := testNode("one", "small")
	draining.Draining = true
	if isUrgent(before, busy) {
		t.Error("a change of load is urgent")
	}
	if !isUrgent(before, draining) || !isUrgent(before, testNode("one", "small", "large")) {
		t.Error("draining and models can wait")
	}
}

func TestATimeToLiveIsWholeSeconds(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{time.Second, 2500 * time.Millisecond, -time.Second} {
		if _, err := (Settings{TimeToLive: life}).complete(); err == nil {
			t.Errorf("%s is taken", life)
		}
	}
	if _, err := NewEtcd(EtcdOptions{}); err == nil {
		t.Error("etcd without an endpoint is taken")
	}
}

func TestTheDirectoryIsReadByHTTPAndByConnect(t *testing.T) {
	t.Parallel()
	static := NewStatic()
	static.Publish(testNode("one", "small"))
	drained := 0
	service := NewService(static, func(context.Context) *v1.Node { return testNode("one") }, func() { drained++ })
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/nodes", service.HandleNodes)
	mux.Handle(treelinev1connect.NewNodeServiceHandler(service))
	server := httptest.NewServer(mux)
	defer server.Close()

	for path, expected := range map[string]int{"/v1/nodes": 1, "/v1/nodes?model=small": 1, "/v1/nodes?model=large": 0} {
		if nodes := getNodes(t, server.URL+path); len(nodes.GetNodes()) != expected {
			t.Errorf("%s: %v", path, nodes)
		}
	}
	for path, status := range map[string]int{"/v1/nodes?model=" + strings.Repeat("m", 300): http.StatusBadRequest} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
	client := treelinev1connect.NewNodeServiceClient(http.DefaultClient, server.URL)
	listed, err := client.ListNodes(t.Context(), connect.NewRequest(&v1.ListNodesRequest{Model: "small"}))
	if err != nil || len(listed.Msg.GetNodes()) != 1 {
		t.Errorf("%v, %v", listed, err)
	}
	if node, err := client.GetNode(t.Context(), connect.NewRequest(&v1.GetNodeRequest{})); err != nil || node.Msg.GetId() != "one" {
		t.Errorf("%v, %v", node, err)
	}
	if _, err := client.Drain(t.Context(), connect.NewRequest(&v1.DrainRequest{})); err != nil || drained != 1 {
		t.Errorf("drained %d times, %v", drained, err)
	}
}

func getNodes(t *testing.T, url string) *v1.ListNodesResponse {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	nodes := &v1.ListNodesResponse{}
	if err := protojson.Unmarshal(body, nodes); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return nodes
}
