package discovery

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/tlsfiles"
	"treeline.dev/pool/tlsfiles/localauthority"
)

// nodeVariable makes a process of this test's program a node that registers in the etcd at its value.
const nodeVariable = "TREELINE_TEST_NODE"

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(nodeVariable); endpoint != "" {
		runNode(endpoint)
		return
	}
	os.Exit(m.Run())
}

func runNode(endpoint string) {
	registry, err := NewEtcd(EtcdOptions{Settings: quick(), Endpoints: []string{endpoint}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	registry.Publish(testNode("killed", "one"))
	fmt.Println("published")
	select {}
}

// etcdServer is a real etcd of one member on loopback.
type etcdServer struct {
	t       *testing.T
	program string
	folder  string
	url     string
	peerURL string
	more    []string
	client  *http.Client
	process *exec.Cmd
}

func startEtcd(t *testing.T) *etcdServer {
	t.Helper()
	server := newEtcd(t)
	server.start()
	return server
}

func newEtcd(t *testing.T) *etcdServer {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("etcd is missing")
		}
		t.Skip("etcd is missing: apt-get install etcd-server")
	}
	server := &etcdServer{t: t, program: program, folder: t.TempDir(), client: http.DefaultClient}
	server.url, server.peerURL = freeURL(t), freeURL(t)
	t.Cleanup(server.kill)
	return server
}

func freeURL(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

func (server *etcdServer) start() {
	server.t.Helper()
	server.process = exec.Command(server.program, "--name=test", "--data-dir="+server.folder,
		"--listen-client-urls="+server.url, "--advertise-client-urls="+server.url, "--listen-peer-urls="+server.peerURL,
		"--initial-advertise-peer-urls="+server.peerURL, "--initial-cluster=test="+server.peerURL, "--log-level=error")
	server.process.Args = append(server.process.Args, server.more...)
	server.process.Stderr = io.Discard
	if err := server.process.Start(); err != nil {
		server.t.Fatal(err)
	}
	eventually(server.t, 20*time.Second, "etcd answers", func() bool {
		response, err := server.client.Get(server.url + "/health")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func (server *etcdServer) kill() {
	if server.process == nil {
		return
	}
	_ = server.process.Process.Kill()
	_ = server.process.Wait()
}

// quick are settings with the shortest time to live.
func quick() Settings {
	return Settings{
		TimeToLive:     2 * time.Second,
		UpdateInterval: 100 * time.Millisecond,
		Logger:         slog.New(slog.DiscardHandler),
	}
}

func (server *etcdServer) join(t *testing.T) *Registry {
	t.Helper()
	registry, err := NewEtcd(EtcdOptions{Settings: quick(), Endpoints: []string{server.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Withdraw(timeout(t, 5*time.Second)) })
	return registry
}

func timeout(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func testNode(id string, models ...string) *v1.Node {
	node := &v1.Node{Id: id, Address: "http://127.0.0.1:1", Version: "1", Load: &v1.NodeLoad{}}
	for _, model := range models {
		node.Models = append(node.Models, &v1.Model{Name: model, State: v1.ModelState_MODEL_STATE_READY})
	}
	return node
}

func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < limit {
		if holds() {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within %s: %s", limit, what)
	return 0
}

// ids of the nodes listed for model.
func ids(directory Directory, model string) string {
	var all string
	for _, node := range directory.List(model) {
		all += node.GetId() + " "
	}
	return all
}

func TestNodesSeeEachOtherWithTheirModelsAndLoad(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	one, two := server.join(t), server.join(t)
	one.Publish(testNode("one", "small"))
	two.Publish(testNode("two", "small", "large"))
	for _, registry := range []*Registry{one, two} {
		eventually(t, 5*time.Second, "both are listed", func() bool { return ids(registry, "") == "one two " })
		eventually(t, 5*time.Second, "both have the small model", func() bool { return ids(registry, "small") == "one two " })
		if listed := ids(registry, "large"); listed != "two " {
			t.Errorf("%s have the large model", listed)
		}
	}
	busy := testNode("two", "small", "large")
	busy.Load.Running = 7
	two.Publish(busy)
	eventually(t, 5*time.Second, "the load is seen", func() bool { return one.List("large")[0].GetLoad().GetRunning() == 7 })

	busy.Draining = true
	two.Publish(busy)
	eventually(t, 5*time.Second, "a draining node gets no calls", func() bool { return ids(one, "small") == "one " })
	if listed := ids(one, ""); listed != "one two " {
		t.Errorf("a draining node is still a node; listed: %s", listed)
	}
	if err := two.Withdraw(timeout(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "a withdrawn node is gone at once", func() bool { return ids(one, "") == "one " })
}

func TestAKilledNodeIsGoneWithinSeconds(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	watching := server.join(t)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), nodeVariable+"="+server.url)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewScanner(output).Scan()
	eventually(t, 10*time.Second, "the node is there", func() bool { return ids(watching, "one") == "killed " })
	// It outlives its lease while it is alive.
	time.Sleep(3 * time.Second)
	if listed := ids(watching, "one"); listed != "killed " {
		t.Fatalf("the living node is not kept alive; listed: %q", listed)
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	// Two seconds to live, and etcd looks for dead leases twice a second.
	gone := eventually(t, 5*time.Second, "the killed node is gone", func() bool { return ids(watching, "") == "" })
	t.Logf("gone after %s", gone)
}

func TestANodeIsEnteredAgainAfterItsLeaseWasLost(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	registry, watching := server.join(t), server.join(t)
	registry.Publish(testNode("one", "small"))
	eventually(t, 5*time.Second, "the node is there", func() bool { return ids(watching, "small") == "one " })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.url}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	leases, err := client.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("%v, %v", leases, err)
	}
	if _, err := client.Revoke(t.Context(), leases.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the entry is gone with its lease", func() bool { return ids(watching, "") == "" })
	eventually(t, 5*time.Second, "the node is there again", func() bool { return ids(watching, "small") == "one " })
}

func TestNodesAreListedWhileEtcdIsAwayAndEnteredOnceItIsBack(t *testing.T) {
	t.Parallel()
	for name, losesData := range map[string]bool{"with its data": false, "with its data lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startEtcd(t)
			one, two := server.join(t), server.join(t)
			one.Publish(testNode("one", "small"))
			two.Publish(testNode("two", "small"))
			eventually(t, 5*time.Second, "both are listed", func() bool { return ids(one, "") == "one two " })
			server.kill()
			if listed := ids(one, "small"); listed != "one two " {
				t.Errorf("without etcd the last known nodes stay; listed: %s", listed)
			}
			if losesData {
				server.folder = t.TempDir()
			}
			server.start()
			fresh := server.join(t)
			eventually(t, 20*time.Second, "a new node sees both", func() bool { return ids(fresh, "small") == "one two " })
			three := testNode("three", "small")
			fresh.Publish(three)
			eventually(t, 20*time.Second, "the old nodes see the new one", func() bool { return ids(one, "small") == "one three two " })
		})
	}
}

func TestEtcdIsReachedByMutualTLS(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if _, err := localauthority.Ensure(localauthority.Request{Folder: folder, Hosts: []string{"127.0.0.1"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(folder, name) }
	files, err := tlsfiles.Open(tlsfiles.Options{Certificate: path("client.crt"), Key: path("client.key"), Authority: path("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	server := newEtcd(t)
	server.url = strings.Replace(server.url, "http:", "https:", 1)
	server.client = files.HTTPClient()
	server.more = []string{"--client-cert-auth", "--cert-file=" + path("server.crt"), "--key-file=" + path("server.key"),
		"--trusted-ca-file=" + path("ca.crt")}
	server.start()
	join := func(config *tls.Config) *Registry {
		registry, err := NewEtcd(EtcdOptions{Settings: quick(), Endpoints: []string{server.url}, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = registry.Withdraw(timeout(t, 5*time.Second)) })
		return registry
	}
	join(files.Client("")).Publish(testNode("one", "small"))
	watching := join(files.Client("127.0.0.1"))
	eventually(t, 10*time.Second, "the node is there", func() bool { return ids(watching, "small") == "one " })
}

func TestANodeStartsBeforeEtcdDoes(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	server.kill()
	registry := server.join(t)
	registry.Publish(testNode("early", "small"))
	if listed := ids(registry, "small"); listed != "early " {
		t.Errorf("without etcd a node knows itself; listed: %q", listed)
	}
	server.start()
	watching := server.join(t)
	eventually(t, 20*time.Second, "it is entered", func() bool { return ids(watching, "small") == "early " })
}

func TestLoadIsWrittenAtMostOnceAnInterval(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	registry := server.join(t)
	registry.Publish(testNode("one", "small"))
	eventually(t, 5*time.Second, "it is entered", func() bool { return revision(t, server) > 1 })
	before := revision(t, server)
	const published = 500
	for running := range published {
		node := testNode("one", "small")
		node.Load.Running = uint32(running) + 1
		registry.Publish(node)
		time.Sleep(time.Millisecond)
	}
	watching := server.join(t)
	eventually(t, 5*time.Second, "the last is written", func() bool {
		nodes := watching.List("small")
		return len(nodes) == 1 && nodes[0].GetLoad().GetRunning() == published
	})
	// Half a second and a bit more, one write each 100 ms; a slow machine takes longer and may write more.
	if writes := revision(t, server) - before; writes > 40 {
		t.Errorf("%d writes for %d publications", writes, published)
	}
}

// revision counts the writes that etcd has taken.
func revision(t *testing.T, server *etcdServer) int64 {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.url}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer, err := client.Get(timeout(t, 5*time.Second), "/")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Header.Revision
}
