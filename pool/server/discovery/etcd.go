package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// etcdCallTimeout bounds one call to etcd.
	etcdCallTimeout = 3 * time.Second
	// etcdResync is how often the whole directory is read although it is watched: a watch waits for ever where etcd came
	// back with its data lost, since its revisions began anew.
	etcdResync = 15 * time.Second
)

// EtcdOptions say where etcd is.
type EtcdOptions struct {
	Settings
	// Endpoints such as http://127.0.0.1:2379; at least one.
	Endpoints []string
	// TLS for https endpoints (tlsfiles.Files.Client); nil: the system's authorities.
	TLS *tls.Config
	// Username and Password, where etcd asks for them.
	Username, Password string
}

// NewEtcd is a membership in etcd. It does not wait for etcd: while etcd cannot be reached the directory has this node
// alone, and it is entered as soon as etcd answers.
func NewEtcd(options EtcdOptions) (*Registry, error) {
	settings, err := options.complete()
	if err != nil {
		return nil, err
	}
	if len(options.Endpoints) == 0 {
		return nil, errors.New("discovery: etcd needs at least one endpoint")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            options.Endpoints,
		DialTimeout:          etcdCallTimeout,
		DialKeepAliveTime:    settings.TimeToLive,
		DialKeepAliveTimeout: etcdCallTimeout,
		TLS:                  options.TLS,
		Username:             options.Username,
		Password:             options.Password,
		// Else gRPC waits up to two minutes before it tries an etcd again that was away for long.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retryMin, Multiplier: 2, Jitter: 0.5, MaxDelay: retryMax},
			MinConnectTimeout: etcdCallTimeout,
		})},
		// What fails is reported here, in one place.
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("discovery: etcd: %w", err)
	}
	return newRegistry(settings, &etcd{client: client, settings: settings}), nil
}

// etcd keeps entries under a lease that this node keeps alive.
type etcd struct {
	client   *clientv3.Client
	settings Settings
}

func (etcd *etcd) enter(ctx context.Context, own *own) error {
	lease, err := etcd.grant(ctx)
	if err != nil {
		return err
	}
	alive, err := etcd.client.KeepAlive(ctx, lease)
	if err != nil {
		return fmt.Errorf("discovery: etcd: %w", err)
	}
	for {
		if err := etcd.put(ctx, own, lease); err != nil {
			return err
		}
		if err := awaitDue(ctx, own, alive); err != nil {
			return err
		}
	}
}

// awaitDue waits until the entry is to be written again; an error says that its lease is lost, or ctx ended.
func awaitDue(ctx context.Context, own *own, alive <-chan *clientv3.LeaseKeepAliveResponse) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-own.due:
			return nil
		case _, open := <-alive:
			if !open {
				return errors.New("discovery: etcd: the lease is lost")
			}
		}
	}
}

func (etcd *etcd) grant(ctx context.Context) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdCallTimeout)
	defer cancel()
	granted, err := etcd.client.Grant(ctx, int64(etcd.settings.TimeToLive/time.Second))
	if err != nil {
		return 0, fmt.Errorf("discovery: etcd: %w", err)
	}
	return granted.ID, nil
}

func (etcd *etcd) put(ctx context.Context, own *own, lease clientv3.LeaseID) error {
	id, value, err := own.entry()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, etcdCallTimeout)
	defer cancel()
	if _, err = etcd.client.Put(ctx, etcd.settings.Prefix+id, string(value), clientv3.WithLease(lease)); err != nil {
		return fmt.Errorf("discovery: etcd: %w", err)
	}
	return nil
}

func (etcd *etcd) follow(ctx context.Context, nodes *nodes) error {
	for {
		revision, err := etcd.read(ctx, nodes)
		if err != nil {
			return err
		}
		if err := etcd.watch(ctx, nodes, revision+1); err != nil {
			return err
		}
	}
}

// read takes over all entries, and gives the revision that they had.
func (etcd *etcd) read(ctx context.Context, nodes *nodes) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, etcdCallTimeout)
	defer cancel()
	answer, err := etcd.client.Get(ctx, etcd.settings.Prefix, clientv3.WithPrefix(), clientv3.WithLimit(nodesMax+1))
	if err != nil {
		return 0, fmt.Errorf("discovery: etcd: %w", err)
	}
	values := make(map[string][]byte, len(answer.Kvs))
	for _, entry := range answer.Kvs {
		values[etcd.id(entry.Key)] = entry.Value
	}
	nodes.replace(values)
	return answer.Header.Revision, nil
}

// watch takes over changes from the revision on, for etcdResync.
func (etcd *etcd) watch(ctx context.Context, nodes *nodes, revision int64) error {
	watching, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), etcdResync)
	defer cancel()
	options := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(revision)}
	for change := range etcd.client.Watch(watching, etcd.settings.Prefix, options...) {
		if err := change.Err(); err != nil {
			return fmt.Errorf("discovery: etcd: %w", err)
		}
		for _, event := range change.Events {
			if event.Type == clientv3.EventTypeDelete {
				nodes.remove(etcd.id(event.Kv.Key))
			} else {
				nodes.put(etcd.id(event.Kv.Key), event.Kv.Value)
			}
		}
	}
	if watching.Err() == nil {
		return errors.New("discovery: etcd: the watch has ended")
	}
	return ctx.Err()
}

func (etcd *etcd) id(key []byte) string { return strings.TrimPrefix(string(key), etcd.settings.Prefix) }

func (etcd *etcd) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, etcdCallTimeout)
	defer cancel()
	if _, err := etcd.client.Delete(ctx, etcd.settings.Prefix+id); err != nil {
		return fmt.Errorf("discovery: etcd: %w", err)
	}
	return nil
}

func (etcd *etcd) close() error { return etcd.client.Close() }
