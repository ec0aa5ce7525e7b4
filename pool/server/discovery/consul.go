package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	// consulService is the service's name in Consul's catalogue.
	consulService = "treeline-pool"
	// consulReapAfter is when Consul forgets the service of a node that never came back. Its shortest.
	consulReapAfter = time.Minute
	// consulWait is how long a watch waits for a change before it asks again.
	consulWait = 30 * time.Second
	// consulPause is the shortest time between two answers to a watch, however much changes.
	consulPause = 100 * time.Millisecond
	// beatsPerLife is how often an entry is kept alive within its time to live.
	beatsPerLife = 3
)

// ConsulOptions say where Consul is.
type ConsulOptions struct {
	Settings
	// Address of the local agent, such as http://127.0.0.1:8500.
	Address string
	// Token of Consul's access control; empty: none.
	Token string
	// Client makes the calls (tlsfiles.Files.HTTPClient); nil: one without certificates.
	Client *http.Client
}

// NewConsul is a membership in Consul, by its HTTP API. It does not wait for Consul, as NewEtcd.
//
// A node is a service with a check that the node itself passes in time (TTL check). Its entry lies in the key-value store
// and is held by a session that hangs on that check: where the check fails, Consul ends the session and, by the session's
// behaviour, deletes the key. So the key-value store alone says who is there.
func NewConsul(options ConsulOptions) (*Registry, error) {
	settings, err := options.complete()
	if err != nil {
		return nil, err
	}
	// Consul's keys begin without a slash.
	settings.Prefix = strings.TrimPrefix(settings.Prefix, "/")
	base, err := url.Parse(options.Address)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("discovery: Consul's address is such as http://127.0.0.1:8500, not %q", options.Address)
	}
	client := options.Client
	if client == nil {
		client = &http.Client{}
	}
	api := &consulAPI{base: strings.TrimSuffix(base.String(), "/"), token: options.Token, client: client}
	return newRegistry(settings, &consul{api: api, settings: settings}), nil
}

// consul keeps entries under a session that this node's check keeps alive.
type consul struct {
	api      *consulAPI
	settings Settings
	// session is the one opened last; only enter knows it.
	session string
}

func (consul *consul) enter(ctx context.Context, own *own) error {
	node := own.latest()
	if err := consul.register(ctx, node); err != nil {
		return err
	}
	session, err := consul.renewSession(ctx, node.GetId())
	if err != nil {
		return err
	}
	if err := consul.put(ctx, own, session); err != nil {
		return err
	}
	beat := time.NewTicker(consul.settings.TimeToLive / beatsPerLife)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-own.due:
			err = consul.put(ctx, own, session)
		case <-beat.C:
			err = consul.beat(ctx, node.GetId(), session)
		}
		if err != nil {
			return err
		}
	}
}

func (consul *consul) register(ctx context.Context, node *v1.Node) error {
	host, port, err := hostAndPort(node.GetAddress())
	if err != nil {
		return err
	}
	return consul.api.put(ctx, "/v1/agent/service/register", map[string]any{
		"ID":      node.GetId(),
		"Name":    consulService,
		"Address": host,
		"Port":    port,
		"Meta":    map[string]string{"version": node.GetVersion()},
		"Check": map[string]any{
			"CheckID":                        checkOf(node.GetId()),
			"Name":                           "the node says that it is alive",
			"TTL":                            consul.settings.TimeToLive.String(),
			"Status":                         "passing",
			"DeregisterCriticalServiceAfter": consulReapAfter.String(),
		},
	}, nil)
}

func checkOf(id string) string { return "service:" + id }

func hostAndPort(address string) (host string, port int, err error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Hostname() == "" {
		return "", 0, fmt.Errorf("discovery: a node's address is such as https://10.0.0.7:8089, not %q", address)
	}
	text := parsed.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("discovery: the address %q has no port", address)
	}
	return parsed.Hostname(), port, nil
}

// renewSession ends the session before, which would hold the entry for as long as the check passes, and opens another.
func (consul *consul) renewSession(ctx context.Context, id string) (session string, err error) {
	if consul.session != "" {
		if err := consul.api.put(ctx, "/v1/session/destroy/"+url.PathEscape(consul.session), nil, nil); err != nil {
			return "", err
		}
		consul.session = ""
	}
	consul.session, err = consul.openSession(ctx, id)
	return consul.session, err
}

func (consul *consul) openSession(ctx context.Context, id string) (session string, err error) {
	var opened struct{ ID string }
	err = consul.api.put(ctx, "/v1/session/create", map[string]any{
		"Name":          consulService + " " + id,
		"Behavior":      "delete",
		"LockDelay":     "0s",
		"ServiceChecks": []map[string]string{{"ID": checkOf(id)}},
	}, &opened)
	if err == nil && opened.ID == "" {
		err = errors.New("discovery: Consul opened a session without an id")
	}
	return opened.ID, err
}

func (consul *consul) put(ctx context.Context, own *own, session string) error {
	id, value, err := own.entry()
	if err != nil {
		return err
	}
	var acquired bool
	path := consul.keyPath(id) + "?acquire=" + url.QueryEscape(session)
	if err := consul.api.putBytes(ctx, path, value, &acquired); err != nil {
		return err
	}
	if !acquired {
		return errors.New("discovery: Consul: another session holds this node's entry")
	}
	return nil
}

// beat keeps the entry alive, and makes sure that its session still is.
func (consul *consul) beat(ctx context.Context, id, session string) error {
	if err := consul.api.put(ctx, "/v1/agent/check/pass/"+url.PathEscape(checkOf(id)), nil, nil); err != nil {
		return err
	}
	var sessions []struct{ ID string }
	if err := consul.api.get(ctx, "/v1/session/info/"+url.PathEscape(session), &sessions); err != nil {
		return err
	}
	if len(sessions) == 0 {
		return errors.New("discovery: Consul: the session is lost")
	}
	return nil
}

func (consul *consul) keyPath(id string) string {
	return "/v1/kv/" + (&url.URL{Path: consul.settings.Prefix}).EscapedPath() + url.PathEscape(id)
}

func (consul *consul) follow(ctx context.Context, nodes *nodes) error {
	// By Consul's rules for blocking queries an index that goes backwards means: begin anew.
	for index := uint64(0); ; {
		entries, next, err := consul.api.list(ctx, consul.keyPath(""), index, consulWait)
		if err != nil {
			return err
		}
		values := make(map[string][]byte, len(entries))
		for _, entry := range entries {
			// A key that no session holds is left over from a node that is gone.
			if entry.Session != "" {
				values[strings.TrimPrefix(entry.Key, consul.settings.Prefix)] = entry.Value
			}
		}
		nodes.replace(values)
		if next < index {
			next = 0
		}
		index = next
		sleep(ctx, consulPause)
	}
}

func (consul *consul) remove(ctx context.Context, id string) error {
	return errors.Join(
		consul.api.call(ctx, http.MethodDelete, consul.keyPath(id), nil, nil),
		// Its check goes with it, and with that the session.
		consul.api.put(ctx, "/v1/agent/service/deregister/"+url.PathEscape(id), nil, nil),
	)
}

func (consul *consul) close() error {
	consul.api.client.CloseIdleConnections()
	return nil
}
