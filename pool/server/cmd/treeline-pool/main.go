// treeline-pool is the pool's server: one port that answers for the models of this machine.
//
// It starts its engine, loads models, enters itself in the directory, takes jobs, and answers. SIGTERM or SIGINT drains
// it: new calls are refused, running ones finish, then it ends; a second signal ends it at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// version of the server; the build may set it.
var version = "0.1.0"

// Exit statuses.
const (
	exitWell    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitAtOnce  = 130
	signalCount = 2
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	settings, err := parse(arguments, fromEnvironment, os.Stdout)
	switch {
	case errors.Is(err, errHelp):
		return exitWell
	case err != nil:
		_, _ = fmt.Fprintf(os.Stderr, "treeline-pool: %v\n", err)
		return exitUsage
	case settings.showVersion:
		_, _ = fmt.Println("treeline-pool", version)
		return exitWell
	}
	log, err := newLog(settings.logLevel)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "treeline-pool: %v\n", err)
		return exitUsage
	}
	slog.SetDefault(log)
	stop := make(chan struct{}, 1)
	go watchSignals(stop, log)
	if err := serve(context.Background(), settings, stop, log); err != nil {
		log.Error("the node has failed", "error", err.Error())
		return exitFailed
	}
	log.Info("the node has ended")
	return exitWell
}

// newLog writes one JSON object a line to standard output.
func newLog(level string) (*slog.Logger, error) {
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level must be debug, info, warn or error, not %q", level)
	}
	return slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: parsed})), nil
}

// watchSignals asks for a drain at the first signal, and ends the process at the second.
func watchSignals(stop chan<- struct{}, log *slog.Logger) {
	signals := make(chan os.Signal, signalCount)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	first := <-signals
	log.Info("the node drains; another signal ends it at once", "signal", first.String())
	askToStop(stop)
	second := <-signals
	log.Warn("the node ends at once", "signal", second.String())
	os.Exit(exitAtOnce)
}

// askToStop does not wait: one wish to stop is as good as several.
func askToStop(stop chan<- struct{}) {
	select {
	case stop <- struct{}{}:
	default:
	}
}
