package discovery

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// consulTwin keeps to Consul's documented semantics for what this package uses: services with TTL checks, sessions that
// hang on checks, keys that sessions hold, and blocking queries with an index. It is not Consul: what the documentation
// leaves open it may do otherwise.
type consulTwin struct {
	lock     sync.Mutex
	index    uint64
	changed  chan struct{}
	checks   map[string]*twinCheck
	sessions map[string]string
	keys     map[string]twinKey
	silent   bool
}

type twinCheck struct {
	life time.Duration
	last time.Time
}

type twinKey struct {
	value   []byte
	session string
}

func startConsulTwin(t *testing.T) (*consulTwin, string) {
	t.Helper()
	twin := &consulTwin{
		index: 1, changed: make(chan struct{}),
		checks: map[string]*twinCheck{}, sessions: map[string]string{}, keys: map[string]twinKey{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/agent/service/register", twin.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", twin.deregister)
	mux.HandleFunc("PUT /v1/agent/check/pass/{check}", twin.pass)
	mux.HandleFunc("PUT /v1/session/create", twin.createSession)
	mux.HandleFunc("PUT /v1/session/destroy/{session}", twin.destroySession)
	mux.HandleFunc("GET /v1/session/info/{session}", twin.sessionInfo)
	mux.HandleFunc("PUT /v1/kv/{key...}", twin.putKey)
	mux.HandleFunc("DELETE /v1/kv/{key...}", twin.deleteKey)
	mux.HandleFunc("GET /v1/kv/{key...}", twin.listKeys)
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		twin.expire()
		twin.lock.Lock()
		silent := twin.silent
		twin.lock.Unlock()
		if silent {
			http.Error(response, "No cluster leader", http.StatusInternalServerError)
			return
		}
		mux.ServeHTTP(response, request)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return twin, server.URL
}

// touch makes the blocking queries answer.
func (twin *consulTwin) touch() {
	twin.index++
	close(twin.changed)
	twin.changed = make(chan struct{})
}

// expire ends what hangs on checks that were not passed in time.
func (twin *consulTwin) expire() {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	for id, check := range twin.checks {
		if time.Since(check.last) > check.life {
			twin.endCheck(id)
		}
	}
}

func (twin *consulTwin) endCheck(id string) {
	delete(twin.checks, id)
	for session, check := range twin.sessions {
		if check == id {
			twin.endSession(session)
		}
	}
}

// endSession deletes the keys that the session held, by its behaviour.
func (twin *consulTwin) endSession(session string) {
	delete(twin.sessions, session)
	for name, key := range twin.keys {
		if key.session == session {
			delete(twin.keys, name)
		}
	}
	twin.touch()
}

func (twin *consulTwin) register(response http.ResponseWriter, request *http.Request) {
	var service struct {
		ID, Name, Address string
		Port              int
		Check             struct{ CheckID, TTL, Status, DeregisterCriticalServiceAfter string }
	}
	life := time.Duration(0)
	err := json.NewDecoder(request.Body).Decode(&service)
	if err == nil {
		life, err = time.ParseDuration(service.Check.TTL)
	}
	if err != nil || service.ID == "" || service.Port == 0 || service.Check.Status != "passing" {
		http.Error(response, "Invalid service", http.StatusBadRequest)
		return
	}
	twin.lock.Lock()
	defer twin.lock.Unlock()
	twin.checks[service.Check.CheckID] = &twinCheck{life: life, last: time.Now()}
}

func (twin *consulTwin) deregister(_ http.ResponseWriter, request *http.Request) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	twin.endCheck("service:" + request.PathValue("id"))
}

func (twin *consulTwin) pass(response http.ResponseWriter, request *http.Request) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	check, known := twin.checks[request.PathValue("check")]
	if !known {
		http.Error(response, "Unknown check ID", http.StatusNotFound)
		return
	}
	check.last = time.Now()
}

func (twin *consulTwin) createSession(response http.ResponseWriter, request *http.Request) {
	var asked struct {
		Behavior, LockDelay string
		ServiceChecks       []struct{ ID string }
	}
	twin.lock.Lock()
	defer twin.lock.Unlock()
	if json.NewDecoder(request.Body).Decode(&asked) != nil || asked.Behavior != "delete" || len(asked.ServiceChecks) != 1 {
		http.Error(response, "Invalid session", http.StatusBadRequest)
		return
	}
	check := asked.ServiceChecks[0].ID
	if twin.checks[check] == nil {
		http.Error(response, "Check is in critical state", http.StatusInternalServerError)
		return
	}
	twin.touch()
	session := fmt.Sprint("session-", twin.index)
	twin.sessions[session] = check
	fmt.Fprintf(response, `{"ID":%q}`, session)
}

func (twin *consulTwin) destroySession(response http.ResponseWriter, request *http.Request) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	twin.endSession(request.PathValue("session"))
	fmt.Fprint(response, "true")
}

func (twin *consulTwin) sessionInfo(response http.ResponseWriter, request *http.Request) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	session := request.PathValue("session")
	if _, alive := twin.sessions[session]; !alive {
		fmt.Fprint(response, "[]")
		return
	}
	fmt.Fprintf(response, `[{"ID":%q}]`, session)
}

func (twin *consulTwin) putKey(response http.ResponseWriter, request *http.Request) {
	value, _ := io.ReadAll(request.Body)
	session := request.URL.Query().Get("acquire")
	twin.lock.Lock()
	defer twin.lock.Unlock()
	if _, alive := twin.sessions[session]; !alive {
		http.Error(response, "invalid session", http.StatusInternalServerError)
		return
	}
	name := request.PathValue("key")
	if held := twin.keys[name].session; held != "" && held != session {
		fmt.Fprint(response, "false")
		return
	}
	twin.keys[name] = twinKey{value: value, session: session}
	twin.touch()
	fmt.Fprint(response, "true")
}

func (twin *consulTwin) deleteKey(response http.ResponseWriter, request *http.Request) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	delete(twin.keys, request.PathValue("key"))
	twin.touch()
	fmt.Fprint(response, "true")
}

func (twin *consulTwin) listKeys(response http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	after, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(query.Get("wait"))
	for deadline := time.Now().Add(wait); ; twin.expire() {
		twin.lock.Lock()
		index, changed := twin.index, twin.changed
		twin.lock.Unlock()
		if index > after || time.Now().After(deadline) {
			break
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		case <-request.Context().Done():
			return
		}
	}
	twin.answerKeys(response, request.PathValue("key"))
}

func (twin *consulTwin) answerKeys(response http.ResponseWriter, prefix string) {
	twin.lock.Lock()
	defer twin.lock.Unlock()
	response.Header().Set("X-Consul-Index", fmt.Sprint(twin.index))
	entries := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(twin.keys)) {
		if key := twin.keys[name]; strings.HasPrefix(name, prefix) {
			value := base64.StdEncoding.EncodeToString(key.value)
			entries = append(entries, map[string]any{"Key": name, "Value": value, "Session": key.session})
		}
	}
	if len(entries) == 0 {
		response.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(response).Encode(entries)
}

func joinConsul(t *testing.T, address string, client *http.Client) *Registry {
	t.Helper()
	registry, err := NewConsul(ConsulOptions{Settings: quick(), Address: address, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Withdraw(timeout(t, 5*time.Second)) })
	return registry
}

func TestConsulListsNodesUntilTheyWithdraw(t *testing.T) {
	t.Parallel()
	_, address := startConsulTwin(t)
	one, two := joinConsul(t, address, nil), joinConsul(t, address, nil)
	one.Publish(testNode("one", "small"))
	two.Publish(testNode("two", "small", "large"))
	eventually(t, 5*time.Second, "both are listed", func() bool { return ids(one, "small") == "one two " })
	busy := testNode("two", "small", "large")
	busy.Load.Waiting = 3
	two.Publish(busy)
	eventually(t, 5*time.Second, "the load is seen", func() bool { return one.List("large")[0].GetLoad().GetWaiting() == 3 })
	// Longer than the time to live: the nodes pass their checks.
	time.Sleep(3 * time.Second)
	if listed := ids(one, "small"); listed != "one two " {
		t.Errorf("the living nodes are not kept alive; listed: %q", listed)
	}
	if err := two.Withdraw(timeout(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "a withdrawn node is gone at once", func() bool { return ids(one, "") == "one " })
}

// cut is a transport that a test can break, as a crash of the node does.
type cut struct{ broken chan struct{} }

func (cut cut) RoundTrip(request *http.Request) (*http.Response, error) {
	select {
	case <-cut.broken:
		return nil, io.ErrUnexpectedEOF
	default:
		return http.DefaultTransport.RoundTrip(request)
	}
}

func TestConsulForgetsANodeThatFallsSilent(t *testing.T) {
	t.Parallel()
	_, address := startConsulTwin(t)
	watching := joinConsul(t, address, nil)
	broken := make(chan struct{})
	silent := joinConsul(t, address, &http.Client{Transport: cut{broken}})
	silent.Publish(testNode("silent", "small"))
	eventually(t, 5*time.Second, "it is listed", func() bool { return ids(watching, "small") == "silent " })
	close(broken)
	gone := eventually(t, 5*time.Second, "it is gone", func() bool { return ids(watching, "") == "" })
	t.Logf("gone after %s", gone)
}

func TestConsulEntersANodeAgainWhoseSessionWasLost(t *testing.T) {
	t.Parallel()
	twin, address := startConsulTwin(t)
	registry, watching := joinConsul(t, address, nil), joinConsul(t, address, nil)
	registry.Publish(testNode("one", "small"))
	eventually(t, 5*time.Second, "it is listed", func() bool { return ids(watching, "small") == "one " })
	twin.lock.Lock()
	for session := range twin.sessions {
		twin.endSession(session)
	}
	twin.lock.Unlock()
	eventually(t, 2*time.Second, "its entry is gone", func() bool { return ids(watching, "") == "" })
	eventually(t, 5*time.Second, "it is listed again", func() bool { return ids(watching, "small") == "one " })
}

func TestConsulMayBeAwayForAWhile(t *testing.T) {
	t.Parallel()
	twin, address := startConsulTwin(t)
	registry, watching := joinConsul(t, address, nil), joinConsul(t, address, nil)
	registry.Publish(testNode("one", "small"))
	eventually(t, 5*time.Second, "it is listed", func() bool { return ids(watching, "small") == "one " })
	setSilent := func(silent bool) {
		twin.lock.Lock()
		defer twin.lock.Unlock()
		twin.silent = silent
	}
	setSilent(true)
	time.Sleep(time.Second)
	setSilent(false)
	busy := testNode("one", "small")
	busy.Load.Running = 9
	registry.Publish(busy)
	eventually(t, 10*time.Second, "what it publishes is seen again", func() bool {
		nodes := watching.List("small")
		return len(nodes) == 1 && nodes[0].GetLoad().GetRunning() == 9
	})
}

func TestConsulNeedsAnAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1:8500", "ftp://host", "http://"} {
		if registry, err := NewConsul(ConsulOptions{Address: address}); err == nil {
			_ = registry.Withdraw(t.Context())
			t.Errorf("%q is taken", address)
		}
	}
}
