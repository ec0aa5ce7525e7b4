package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheCommandLineGoesOverTheEnvironmentAndThatOverTheDefaults(t *testing.T) {
	environment := map[string]string{
		"TREELINE_POOL_LISTEN": "127.0.0.1:1", "TREELINE_POOL_DRAIN_TIMEOUT": "5s", "TREELINE_POOL_LOAD": "a, b",
		"TREELINE_POOL_ETCD": "http://e1,http://e2", "TREELINE_POOL_LABEL": "zone=a,rack=7",
	}
	lookup := func(name string) (string, bool) { value, isThere := environment[name]; return value, isThere }
	parsed, err := parse([]string{"--listen", "127.0.0.1:2", "--load", "c", "--load", "d:2", "--engine", noEngine}, lookup, nil)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.listen != "127.0.0.1:2" || parsed.drainTimeout != 5*time.Second || parsed.load.String() != "c,d:2" ||
		parsed.etcd.String() != "http://e1,http://e2" || parsed.labels["rack"] != "7" || parsed.workers != 1 {
		t.Errorf("%+v", parsed)
	}
}

func TestWhatDoesNotFitTogetherIsRefused(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for _, arguments := range []string{
		"--engine teleport", "--workers 0", "--running-calls-max 0", "--body-bytes-max 0", "--tls-certificate a",
		"--tls-authority a", "--etcd http://a --consul http://b", "--alias a", "--drain-timeout soon", "stray", "--nope",
		"--nats-monitor http://127.0.0.1:8222", "--nats nats://127.0.0.1:4222 --nats-monitor 127.0.0.1:8222",
	} {
		if parsed, err := parse(strings.Fields(arguments), none, nil); err == nil {
			t.Errorf("%s gave %+v", arguments, parsed)
		}
	}
	bad := func(name string) (string, bool) { return "soon", name == "TREELINE_POOL_DRAIN_TIMEOUT" }
	if _, err := parse(nil, bad, nil); err == nil || !strings.Contains(err.Error(), "TREELINE_POOL_DRAIN_TIMEOUT") {
		t.Error(err)
	}
}

func TestTheHelpNamesEveryFlag(t *testing.T) {
	var output bytes.Buffer
	if _, err := parse([]string{"--help"}, func(string) (string, bool) { return "", false }, &output); !errors.Is(err, errHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"--listen", "127.0.0.1:8089", "--drain-timeout", "TREELINE_POOL_", "--trace-sample-ratio"} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("%s is missing in %s", want, output.String())
		}
	}
	for line := range strings.Lines(output.String()) {
		if len(line) > helpWidth+1 {
			t.Errorf("%q is too long", line)
		}
	}
}
