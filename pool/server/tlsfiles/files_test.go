package tlsfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"treeline.dev/pool/tlsfiles/localauthority"
)

// makeFolder makes an authority with a server's and a client's certificate for the hosts.
func makeFolder(t *testing.T, hosts ...string) string {
	t.Helper()
	folder := t.TempDir()
	if _, err := localauthority.Ensure(localauthority.Request{Folder: folder, Hosts: hosts, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return folder
}

func serverOptions(folder string) Options {
	return Options{
		Certificate: filepath.Join(folder, localauthority.ServerCertificate),
		Key:         filepath.Join(folder, localauthority.ServerKey),
		Authority:   filepath.Join(folder, localauthority.AuthorityCertificate),
		Logger:      slog.New(slog.DiscardHandler),
	}
}

func clientOptions(folder string) Options {
	return Options{
		Certificate: filepath.Join(folder, localauthority.ClientCertificate),
		Key:         filepath.Join(folder, localauthority.ClientKey),
		Authority:   filepath.Join(folder, localauthority.AuthorityCertificate),
		Logger:      slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, options Options) *Files {
	t.Helper()
	files, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// serve answers with the common name of the client's certificate.
func serve(t *testing.T, files *Files) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if len(request.TLS.PeerCertificates) > 0 {
			_, _ = io.WriteString(response, request.TLS.PeerCertificates[0].Subject.CommonName)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.EnableHTTP2 = true
	listener := server.Listener
	server.Listener = tls.NewListener(listener, files.Server())
	server.Start()
	t.Cleanup(server.Close)
	server.URL = "https://" + listener.Addr().String()
	return server
}

func get(client *http.Client, url string) (string, error) {
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestBothSidesKnowEachOther(t *testing.T) {
	folder := makeFolder(t, "localhost", "127.0.0.1")
	server := serve(t, open(t, serverOptions(folder)))
	client := open(t, clientOptions(folder)).HTTPClient()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "https://"))
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if name, err := get(client, "https://"+net.JoinHostPort(host, port)); err != nil || name != "treeline pool client" {
			t.Errorf("by %s: %q, %v", host, name, err)
		}
	}
}

func TestWhoHasNoCertificateOfTheAuthorityIsRefused(t *testing.T) {
	folder, foreign := makeFolder(t, "127.0.0.1"), makeFolder(t, "127.0.0.1")
	server := serve(t, open(t, serverOptions(folder)))
	pool := x509.NewCertPool()
	pool.AddCert(open(t, serverOptions(folder)).current.Load().certificate.Leaf)
	roots, err := os.ReadFile(filepath.Join(folder, localauthority.AuthorityCertificate))
	if err != nil || !pool.AppendCertsFromPEM(roots) {
		t.Fatal(err)
	}
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if _, err := get(bare, server.URL); err == nil {
		t.Error("a client without a certificate is served")
	}
	options := clientOptions(foreign)
	// It trusts the server, but the server does not know its authority.
	options.Authority = filepath.Join(folder, localauthority.AuthorityCertificate)
	if _, err := get(open(t, options).HTTPClient(), server.URL); err == nil {
		t.Error("a client of another authority is served")
	}
}

func TestAServerOfAnotherAuthorityOrForAnotherHostIsRefused(t *testing.T) {
	folder, foreign, elsewhere := makeFolder(t, "127.0.0.1"), makeFolder(t, "127.0.0.1"), makeFolder(t, "elsewhere")
	server := serve(t, open(t, serverOptions(folder)))
	if _, err := get(open(t, clientOptions(foreign)).HTTPClient(), server.URL); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a server of another authority: %v", err)
	}
	other := serve(t, open(t, serverOptions(elsewhere)))
	if _, err := get(open(t, clientOptions(elsewhere)).HTTPClient(), other.URL); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a server for another host: %v", err)
	}
}

func TestAConfigurationWithoutANameChecksWhatIsCalled(t *testing.T) {
	folder, foreign, elsewhere := makeFolder(t, "127.0.0.1"), makeFolder(t, "127.0.0.1"), makeFolder(t, "elsewhere")
	for name, call := range map[string]struct {
		server, client string
		isGood         bool
	}{
		"the right host":    {folder, folder, true},
		"another authority": {folder, foreign, false},
		"another host":      {elsewhere, elsewhere, false},
	} {
		server := serve(t, open(t, serverOptions(call.server)))
		config := open(t, clientOptions(call.client)).Client("")
		connection, err := tls.Dial("tcp", strings.TrimPrefix(server.URL, "https://"), config)
		if (err == nil) != call.isGood {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			connection.Close()
		}
	}
}

func TestOnlyTLS13IsSpoken(t *testing.T) {
	folder := makeFolder(t, "127.0.0.1")
	server := serve(t, open(t, serverOptions(folder)))
	config := open(t, clientOptions(folder)).Client("127.0.0.1")
	config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if connection, err := tls.Dial("tcp", strings.TrimPrefix(server.URL, "https://"), config); err == nil {
		connection.Close()
		t.Error("TLS 1.2 is spoken")
	}
}

func TestWithoutAnAuthorityClientsNeedNoCertificate(t *testing.T) {
	folder := makeFolder(t, "127.0.0.1")
	options := serverOptions(folder)
	options.Authority = ""
	server := serve(t, open(t, options))
	pool := x509.NewCertPool()
	roots, err := os.ReadFile(filepath.Join(folder, localauthority.AuthorityCertificate))
	if err != nil || !pool.AppendCertsFromPEM(roots) {
		t.Fatal(err)
	}
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if _, err := get(bare, server.URL); err != nil {
		t.Error(err)
	}
}

// exchange puts other files in the place of those that options name.
func exchange(t *testing.T, folder, other string) {
	t.Helper()
	for _, name := range []string{localauthority.ServerKey, localauthority.ServerCertificate, localauthority.AuthorityCertificate,
		localauthority.ClientKey, localauthority.ClientCertificate} {
		content, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewCertificatesAreTakenUpWithoutARestart(t *testing.T) {
	folder, next := makeFolder(t, "127.0.0.1"), makeFolder(t, "127.0.0.1")
	serverSide, clientSide := serverOptions(folder), clientOptions(folder)
	serverSide.Interval, clientSide.Interval = 10*time.Millisecond, 10*time.Millisecond
	exchanged := make(chan time.Time, 16)
	serverSide.Exchanged = func(ends time.Time) { exchanged <- ends }
	files, calling := open(t, serverSide), open(t, clientSide)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { files.Watch(ctx) })
	watching.Go(func() { calling.Watch(ctx) })
	defer watching.Wait()
	defer cancel()
	server, client := serve(t, files), calling.HTTPClient()
	if _, err := get(client, server.URL); err != nil {
		t.Fatal(err)
	}
	before := files.current.Load()
	exchange(t, folder, next)
	deadline := time.Now().Add(5 * time.Second)
	isNew := func() bool {
		want := open(t, serverOptions(next)).current.Load().certificate.Leaf
		return files.current.Load().certificate.Leaf.Equal(want) && calling.current.Load().digest != before.digest
	}
	for !isNew() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	// Both sides have the new authority: what was given out before counts no more, the new does.
	eventually := func(call func() error) (err error) {
		for err = call(); err != nil && time.Now().Before(deadline); err = call() {
			time.Sleep(10 * time.Millisecond)
		}
		return err
	}
	if err := eventually(func() error { _, err := get(client, server.URL); return err }); err != nil {
		t.Error(err)
	}
	if _, err := get(open(t, clientOptions(next)).HTTPClient(), server.URL); err != nil {
		t.Error(err)
	}
	if ends := <-exchanged; time.Until(ends) < 24*time.Hour {
		t.Errorf("told that it ends %s", ends)
	}
}

func TestABadPairIsRefusedAndTheOneBeforeStays(t *testing.T) {
	folder := makeFolder(t, "127.0.0.1")
	var log bytes.Buffer
	options := serverOptions(folder)
	options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	files := open(t, options)
	good := files.current.Load()
	key, err := os.ReadFile(options.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"nothing":          "",
		"half a key":       string(key[:len(key)/2]),
		"another's key":    readFile(t, clientOptions(folder).Key),
		"too much for one": strings.Repeat("x", fileBytesMax+1),
	} {
		if err := os.WriteFile(options.Key, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := files.Reload(); changed || err == nil || !strings.Contains(err.Error(), options.Key) {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		if files.current.Load() != good {
			t.Errorf("%s: the good pair is gone", name)
		}
	}
	log.Reset()
	if err := os.WriteFile(options.Key, []byte("bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	files.look()
	files.look()
	if told := strings.Count(log.String(), "refused"); told != 1 {
		t.Errorf("one bad pair is told %d times:\n%s", told, log.String())
	}
	if err := os.WriteFile(options.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Reload(); err != nil {
		t.Error(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestUnusableFilesAreRefusedAtTheStart(t *testing.T) {
	folder := makeFolder(t, "127.0.0.1")
	noAuthority := serverOptions(folder)
	noAuthority.Authority = noAuthority.Key
	missing := serverOptions(folder)
	missing.Certificate = filepath.Join(folder, "missing.crt")
	for name, options := range map[string]Options{"no files": {}, "an authority without a certificate": noAuthority, "a missing file": missing} {
		if _, err := Open(options); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
