package localauthority

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func ensure(t *testing.T, request Request) []string {
	t.Helper()
	written, err := Ensure(request)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestCertificatesAreMadeOnceAndOnlyForTheirOwner(t *testing.T) {
	request := Request{Folder: filepath.Join(t.TempDir(), "new"), Hosts: []string{"localhost", "127.0.0.1", "::1"}, Now: now}
	if written := ensure(t, request); len(written) != 6 {
		t.Errorf("written first: %v", written)
	}
	if written := ensure(t, request); len(written) != 0 {
		t.Errorf("written again: %v", written)
	}
	for _, name := range []string{AuthorityKey, ServerKey, ClientKey} {
		information, err := os.Stat(filepath.Join(request.Folder, name))
		if err != nil || information.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, information.Mode(), err)
		}
	}
	if information, err := os.Stat(request.Folder); err != nil || information.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", information.Mode(), err)
	}
}

func TestLeavesAreGoodForTheirHostsAndForBothSides(t *testing.T) {
	request := Request{Folder: t.TempDir(), Hosts: []string{"localhost", "127.0.0.1", "::1"}, Now: now}
	ensure(t, request)
	path := func(name string) string { return filepath.Join(request.Folder, name) }
	authority, err := read(path(AuthorityCertificate), path(AuthorityKey))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	for _, names := range [][2]string{{ServerCertificate, ServerKey}, {ClientCertificate, ClientKey}} {
		leaf, err := read(path(names[0]), path(names[1]))
		if err != nil {
			t.Fatal(err)
		}
		for host, isGood := range map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true, "other": false} {
			for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
				options := x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
				if _, err := leaf.certificate.Verify(options); (err == nil) != isGood {
					t.Errorf("%s for %s: %v", names[0], host, err)
				}
			}
		}
	}
}

func TestWhatEndsSoonOrIsForOtherHostsIsMadeAnew(t *testing.T) {
	request := Request{Folder: t.TempDir(), Hosts: []string{"localhost"}, Now: now}
	ensure(t, request)
	leaves := []string{ServerCertificate, ServerKey, ClientCertificate, ClientKey}
	request.Hosts = []string{"localhost", "10.0.0.7"}
	if written := ensure(t, request); !slices.Equal(written, leaves) {
		t.Errorf("for other hosts: %v", written)
	}
	request.Now = now.Add(leafLife - renewBefore + time.Hour)
	if written := ensure(t, request); !slices.Equal(written, leaves) {
		t.Errorf("at their end: %v", written)
	}
	request.Now = now.Add(authorityLife - renewBefore + time.Hour)
	if written := ensure(t, request); len(written) != 6 {
		t.Errorf("at the authority's end: %v", written)
	}
}

func TestAPairThatDoesNotFitIsNotOverwritten(t *testing.T) {
	request := Request{Folder: t.TempDir(), Hosts: []string{"localhost"}, Now: now}
	ensure(t, request)
	if err := os.WriteFile(filepath.Join(request.Folder, AuthorityKey), []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(request); err == nil {
		t.Error("somebody's key was overwritten")
	}
}

func TestHostsAreNamesOrAddresses(t *testing.T) {
	for _, hosts := range [][]string{nil, {""}, {"http://localhost"}, {"localhost:80"}, {"a b"}} {
		if _, err := Ensure(Request{Folder: t.TempDir(), Hosts: hosts, Now: now}); err == nil {
			t.Errorf("%q are taken", hosts)
		}
	}
}
