package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/tlsfiles/localauthority"
)

// certificates are those of a pool whose every port asks for them, and the client that shows one.
type certificates struct {
	flags  []string
	client *http.Client
}

func makeCertificates(t *testing.T) certificates {
	t.Helper()
	folder := t.TempDir()
	if _, err := localauthority.Ensure(localauthority.Request{
		Folder: folder, Hosts: []string{"127.0.0.1", "localhost"}, Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(folder, name) }
	own, err := tls.LoadX509KeyPair(path(localauthority.ClientCertificate), path(localauthority.ClientKey))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(path(localauthority.AuthorityCertificate))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}}
	t.Cleanup(transport.CloseIdleConnections)
	return certificates{
		flags: []string{
			"--tls-certificate", path(localauthority.ServerCertificate), "--tls-key", path(localauthority.ServerKey),
			"--tls-authority", path(localauthority.AuthorityCertificate),
		},
		client: &http.Client{Transport: transport},
	}
}

// startEngineNode is a node with an engine of its own, whose models answer with what they get.
func startEngineNode(t *testing.T, flags ...string) *process {
	t.Helper()
	settings := enginetest.Settings(t)
	return startProcess(t, append([]string{
		"--engine", "shm", "--engine-program", enginetest.Program(t), "--models", settings.Repository,
		"--load", enginetest.IdentityModel, "--threads", "1",
	}, flags...)...)
}

// post asks as JSON, and gives the answer's body.
func post(t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	answer, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(url, answer.Status, string(text), err)
	}
	return string(text)
}

// checkServes asks a node for text and tensors, and what carried them.
func checkServes(t *testing.T, client *http.Client, url, transport string) {
	t.Helper()
	generated := post(t, client, url+"/v1/completions", `{"model":"identity","prompt":"abc","max_tokens":7}`)
	if !strings.Contains(generated, `"abcabca"`) {
		t.Error(generated)
	}
	streamed := post(t, client, url+"/v1/completions", `{"model":"identity","prompt":"abc","max_tokens":7,"stream":true}`)
	if !strings.HasSuffix(streamed, "data: [DONE]\n\n") {
		t.Error(streamed)
	}
	inferred := post(t, client, url+"/v2/models/identity/infer",
		`{"inputs":[{"name":"x","datatype":"INT32","shape":[3],"data":[1,-2,3]}]}`)
	if !strings.Contains(inferred, `"data":[1,-2,3]`) {
		t.Error(inferred)
	}
	var echoed struct{ Data, Transport string }
	echo := post(t, client, url+"/api/v1/ipc/call", `{"operation":"echo","data":"Grüße"}`)
	if err := json.Unmarshal([]byte(echo), &echoed); err != nil || echoed.Data != "Grüße" || echoed.Transport != transport {
		t.Error(echo, err)
	}
}

func TestANodeUsesTheEngineOfAnotherNode(t *testing.T) {
	engineNode := startEngineNode(t)
	for _, address := range []string{strings.TrimPrefix(engineNode.url, "http://"), engineNode.url} {
		node := startProcess(t, "--engine", "grpc", "--engine-address", address)
		checkServes(t, http.DefaultClient, node.url, "grpc")
	}
}

func TestANodeUsesAnEngineThatListensItself(t *testing.T) {
	node := startProcess(t, "--engine", "grpc", "--engine-address", enginetest.Listen(t))
	checkServes(t, http.DefaultClient, node.url, "grpc")
}

func TestWithCertificatesANodeUsesTheEngineOfAnotherNodeByMutualTLS(t *testing.T) {
	made := makeCertificates(t)
	engineNode := startEngineNode(t, made.flags...)
	if !strings.HasPrefix(engineNode.url, "https://") {
		t.Fatal(engineNode.url)
	}
	checkServes(t, made.client, engineNode.url, "shm")
	for _, address := range []string{strings.TrimPrefix(engineNode.url, "https://"), engineNode.url} {
		node := startProcess(t, append([]string{"--engine", "grpc", "--engine-address", address}, made.flags...)...)
		checkServes(t, made.client, node.url, "grpc")
	}
	// Without a certificate the engine's node is out of reach, by TLS and without.
	for _, address := range []string{engineNode.url, strings.TrimPrefix(engineNode.url, "https://")} {
		says, status := runProgram(t, "--listen", "127.0.0.1:0", "--engine", "grpc", "--engine-address", address)
		if status != exitFailed || !strings.Contains(says, "the engine by grpc") {
			t.Errorf("%s: %d %s", address, status, says)
		}
	}
}

func TestAnAddressOfAnEngineThatIsNoneIsRefused(t *testing.T) {
	for _, address := range []string{"ftp://127.0.0.1:1", "127.0.0.1", "http://", "http://127.0.0.1:1/path"} {
		says, status := runProgram(t, "--listen", "127.0.0.1:0", "--engine", "grpc", "--engine-address", address)
		if status != exitUsage || !strings.Contains(says, "--engine-address") {
			t.Errorf("%q: %d %s", address, status, says)
		}
	}
}

// runProgram runs the program to its end.
func runProgram(t *testing.T, arguments ...string) (says string, status int) {
	t.Helper()
	var output bytes.Buffer
	command := programCommand(arguments...)
	command.Stdout, command.Stderr = &output, &output
	_ = command.Run()
	return output.String(), command.ProcessState.ExitCode()
}
