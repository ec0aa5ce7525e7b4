package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"treeline.dev/pool/discovery"
	"treeline.dev/pool/jobs"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rpc"
	"treeline.dev/pool/telemetry"
	"treeline.dev/pool/tlsfiles"
)

const (
	// endTimeout bounds each step of ending after the drain: leaving the directory, closing connections, the last export.
	endTimeout = 5 * time.Second
	// queueTimeout bounds how long NATS may take to be reached at the start.
	queueTimeout = 30 * time.Second
)

// ending is what was begun, and how each of it ends: in reverse order.
type ending struct {
	log   *slog.Logger
	steps []endStep
}

type endStep struct {
	name string
	end  func(context.Context) error
}

func (ending *ending) add(name string, end func(context.Context) error) {
	ending.steps = append(ending.steps, endStep{name, end})
}

// run ends all; a step that fails does not keep the others from ending.
func (ending *ending) run() {
	for index := len(ending.steps) - 1; index >= 0; index-- {
		step := ending.steps[index]
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		if err := step.end(ctx); err != nil {
			ending.log.Warn("not ended well", "what", step.name, "error", err.Error())
		}
		cancel()
	}
}

// running is a node that has begun.
type running struct {
	settings   *settings
	log        *slog.Logger
	ending     ending
	background sync.WaitGroup
	files      *tlsfiles.Files
	telemetry  *telemetry.Telemetry
	catalogue  *models.Catalogue
	readiness  *readiness
	membership discovery.Membership
	node       *node
	queue      *jobs.Queue
	stop       chan struct{}
	// isCutOff means that the drain took too long, so that connections are not waited for.
	isCutOff bool
	// failed is told when the server cannot serve any more.
	failed chan error
}

// serve runs the node until `stop` says to drain, or until it fails.
func serve(ctx context.Context, settings *settings, stop chan struct{}, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	pool := &running{
		settings: settings, log: log, ending: ending{log: log}, stop: stop, failed: make(chan error, 1),
	}
	defer func() {
		cancel()
		pool.ending.run()
		pool.background.Wait()
	}()
	isStopped, err := pool.beginUnlessStopped(ctx, cancel)
	switch {
	case isStopped:
		log.Info("the node was stopped before it had begun")
		return nil
	case err != nil:
		return err
	}
	loaded := make(chan error, 1)
	go func() {
		waiting := loading{
			catalogue: pool.catalogue, wanted: settings.load.values, toleratesFailed: settings.toleratesFailed, log: log,
		}
		loaded <- waiting.wait(ctx)
	}()
	for {
		select {
		case err := <-loaded:
			if err != nil {
				return err
			}
			pool.readiness.started.Store(true)
			log.Info("the node is ready", "address", pool.node.address)
		case err := <-pool.failed:
			return err
		case <-pool.stop:
			pool.drain()
			return nil
		}
	}
}

// beginUnlessStopped begins, and gives up where the node is to stop before it has begun: NATS may be waited for long.
func (pool *running) beginUnlessStopped(ctx context.Context, giveUp func()) (isStopped bool, err error) {
	begun := make(chan error, 1)
	go func() { begun <- pool.begin(ctx) }()
	select {
	case err = <-begun:
		return false, err
	case <-pool.stop:
		giveUp()
		<-begun
		return true, nil
	}
}

// begin starts everything but does not wait for models.
func (pool *running) begin(ctx context.Context) error {
	if err := pool.beginSecurity(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", pool.settings.listen)
	if err != nil {
		return err
	}
	// Once the server serves it closes the listener itself; closing it twice is an error that tells nothing.
	pool.ending.add("listener", func(context.Context) error { _ = listener.Close(); return nil })
	pool.node = &node{
		id: cmp.Or(pool.settings.nodeID, newID()), labels: pool.settings.labels, startedAt: time.Now(),
		address: cmp.Or(pool.settings.advertise, addressOf(listener, pool.files != nil)),
	}
	if err := pool.beginTelemetry(ctx); err != nil {
		return err
	}
	rust, err := pool.beginModels(ctx)
	if err != nil {
		return err
	}
	if err := pool.beginDirectory(ctx); err != nil {
		return err
	}
	if err := pool.beginQueue(ctx); err != nil {
		return err
	}
	pool.listen(ctx, listener, rust)
	return nil
}

// beginSecurity reads the certificates.
func (pool *running) beginSecurity() error {
	if pool.settings.tlsCertificate == "" {
		return nil
	}
	files, err := tlsfiles.Open(tlsfiles.Options{
		Certificate: pool.settings.tlsCertificate, Key: pool.settings.tlsKey, Authority: pool.settings.tlsAuthority,
		Logger: pool.log,
		// Called by Watch alone, which begins after the telemetry.
		Exchanged: func(ends time.Time) { pool.telemetry.SetCertificateEnds(ends) },
	})
	pool.files = files
	return err
}

func (pool *running) beginTelemetry(ctx context.Context) (err error) {
	options := telemetry.Options{
		Version: version, Node: pool.node.id, Endpoint: pool.settings.otlpEndpoint,
		SampleRatio: pool.settings.sampleRatio, Logger: pool.log,
	}
	if pool.files != nil {
		options.TLS = pool.files.Client("")
	}
	if pool.telemetry, err = telemetry.New(ctx, options); err != nil {
		return err
	}
	pool.ending.add("telemetry", pool.telemetry.Shutdown)
	if pool.files != nil {
		pool.telemetry.SetCertificateEnds(pool.files.Ends())
		pool.background.Go(func() { pool.files.Watch(ctx) })
	}
	return nil
}

// beginModels opens the engine and the other providers, and puts the catalogue in front of them.
func (pool *running) beginModels(ctx context.Context) (rust rustEngine, err error) {
	if rust, err = pool.beginEngine(ctx); err != nil {
		return rust, err
	}
	var providers []models.Provider
	if rust.provider != nil {
		providers = append(providers, rust.provider)
	}
	if folder := pool.settings.goModels; folder != "" {
		provider, err := goProvider(folder)
		if err != nil {
			return rust, err
		}
		pool.ending.add("Go models", func(context.Context) error { return provider.Close() })
		providers = append(providers, provider)
	}
	others, err := upstreamProviders(pool.settings.config)
	if err != nil {
		return rust, err
	}
	aliases := map[string]string{"test": "all-minilm-l6-v2"}
	for name, model := range pool.settings.aliases {
		aliases[name] = model
	}
	pool.catalogue, err = models.NewCatalogue(models.Options{
		Providers: append(providers, others...), Aliases: aliases, RunningMax: pool.settings.runningMax,
		NewID: newID, Telemetry: pool.telemetry, Log: pool.log,
	})
	if err != nil {
		return rust, err
	}
	pool.readiness = &readiness{catalogue: pool.catalogue}
	pool.node.catalogue = pool.catalogue
	pool.background.Go(func() { pool.catalogue.Watch(ctx) })
	return rust, nil
}

// beginDirectory enters the node in etcd or Consul, or in a directory of its own.
func (pool *running) beginDirectory(ctx context.Context) (err error) {
	settings := discovery.Settings{Logger: pool.log}
	switch {
	case len(pool.settings.etcd.values) > 0:
		options := discovery.EtcdOptions{Settings: settings, Endpoints: pool.settings.etcd.values}
		if pool.files != nil {
			options.TLS = pool.files.Client("")
		}
		pool.membership, err = discovery.NewEtcd(options)
	case pool.settings.consul != "":
		options := discovery.ConsulOptions{
			Settings: settings, Address: pool.settings.consul, Token: pool.settings.consulToken,
		}
		if pool.files != nil {
			options.Client = pool.files.HTTPClient()
		}
		pool.membership, err = discovery.NewConsul(options)
	default:
		pool.membership = discovery.NewStatic()
	}
	if err != nil {
		return err
	}
	pool.ending.add("directory", pool.membership.Withdraw)
	pool.background.Go(func() { pool.node.publish(ctx, pool.membership) })
	return nil
}

// beginQueue joins the queue of jobs.
func (pool *running) beginQueue(ctx context.Context) (err error) {
	if pool.settings.nats == "" {
		return nil
	}
	options := jobs.Options{
		URL: pool.settings.nats, CredentialsFile: pool.settings.natsCreds, Node: pool.node.id,
		Replicas: pool.settings.natsStreams, Workers: pool.settings.jobWorkers, Caller: pool.catalogue,
		Models: pool.catalogue.Ready, Observer: pool.telemetry, Logger: pool.log,
		Resolve:  pool.catalogue.Resolve,
		Servable: func(model string) bool { return len(pool.membership.List(model)) > 0 },
	}
	if pool.files != nil {
		options.TLS = pool.files.Client("")
	}
	opening, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	if err := pool.verifyQueue(opening); err != nil {
		return err
	}
	if pool.queue, err = jobs.Open(opening, options); err != nil {
		return err
	}
	pool.ending.add("queue", pool.leaveQueue)
	return nil
}

// verifyQueue refuses a NATS that may lose jobs it has accepted, where it is known how to ask.
func (pool *running) verifyQueue(ctx context.Context) error {
	monitor := pool.settings.natsMonitor
	if monitor == "" {
		pool.log.Info("whether NATS writes each job to disk before it accepts it is not known; --nats-monitor asks")
		return nil
	}
	client := http.DefaultClient
	if pool.files != nil {
		client = pool.files.HTTPClient()
	}
	if err := jobs.VerifySync(ctx, client, monitor); err != nil {
		return fmt.Errorf("%w. Without --nats-monitor the node starts all the same", err)
	}
	return nil
}

// leaveQueue lets running jobs finish until ctx ends, and gives the others back. A second call does nothing.
func (pool *running) leaveQueue(ctx context.Context) error {
	queue := pool.queue
	pool.queue = nil
	if queue == nil {
		return nil
	}
	return queue.Close(ctx)
}

// listen answers on the port from now on.
func (pool *running) listen(ctx context.Context, listener net.Listener, rust rustEngine) {
	parts := parts{
		catalogue: pool.catalogue, telemetry: pool.telemetry, rust: rust, readiness: pool.readiness,
		nodes: discovery.NewService(pool.membership, pool.node.describe, func() {
			pool.log.Info("the node drains", "reason", "a call of Drain")
			askToStop(pool.stop)
		}),
		startedAt: pool.node.startedAt, bounds: pool.bounds(), log: pool.log,
	}
	if pool.queue != nil {
		parts.jobs = jobs.NewService(pool.queue, rpc.Failed)
	}
	server := newServer(newHandler(parts), pool.log)
	if pool.files != nil {
		server.TLSConfig = pool.files.Server()
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	pool.ending.add("server", func(ctx context.Context) error {
		if pool.isCutOff {
			return server.Close()
		}
		return errors.Join(server.Shutdown(ctx), server.Close())
	})
	pool.background.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			pool.failed <- fmt.Errorf("the server: %w", err)
		}
	})
	pool.log.Info("the node listens", "address", pool.node.address, "node", pool.node.id, "version", version,
		"engine", pool.settings.engine)
}

// drain refuses new calls, tells the directory, and lets running calls and jobs finish.
func (pool *running) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), pool.settings.drainTimeout)
	defer cancel()
	pool.catalogue.BeginDrain()
	pool.telemetry.SetDraining(true)
	pool.membership.Publish(pool.node.describe(ctx))
	pool.log.Info("draining", "running", pool.catalogue.Running(), "timeout_ms", pool.settings.drainTimeout.Milliseconds())
	if err := pool.leaveQueue(ctx); err != nil {
		pool.log.Warn("the queue is not left well", "error", err.Error())
	}
	if err := pool.catalogue.Drain(ctx); err != nil {
		pool.isCutOff = true
		pool.log.Warn("calls are cut off", "running", pool.catalogue.Running())
		return
	}
	pool.log.Info("drained")
}
