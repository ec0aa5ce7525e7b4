package grpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	"treeline.dev/pool/gen/treeline/engine/v1/enginev1connect"
)

// open opens an engine that the test's end closes.
func open(t testing.TB, options Options) *Engine {
	t.Helper()
	opened, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return opened
}

func TestAnEngineOnAnotherHostDoesWhatEveryTransportDoes(t *testing.T) {
	opened := open(t, Options{Address: "http://" + enginetest.Listen(t)})
	enginetest.Run(t, enginetest.Transport{Engine: opened})
}

func TestAnEngineOfAnotherContractIsRefusedWithBothNamed(t *testing.T) {
	other := engine.Contract{ABIVersion: engine.ABIVersion, Hash: "0123456789abcdef"}
	_, err := Open(t.Context(), Options{Address: "http://" + enginetest.Listen(t), Contract: other})
	checkMismatch(t, err, other.Hash)
}

func checkMismatch(t *testing.T, err error, other string) {
	t.Helper()
	var refusal *engine.Error
	if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_VERSION_MISMATCH {
		t.Fatalf("not refused: %v", err)
	}
	if !strings.Contains(refusal.Message, other) || !strings.Contains(refusal.Message, engine.Built.Hash) {
		t.Errorf("%q does not name both", refusal.Message)
	}
}

// liar says that it was built from another contract.
type liar struct{ hello *enginev1.HelloReply }

func (liar liar) Call(
	_ context.Context, _ *connect.Request[enginev1.CallFrame], stream *connect.ServerStream[enginev1.ReplyFrame],
) error {
	header, err := proto.Marshal(liar.hello)
	if err != nil {
		return err
	}
	return stream.Send(&enginev1.ReplyFrame{Header: header, Last: true})
}

func TestAnEngineThatTellsAnotherContractIsRefused(t *testing.T) {
	hello := &enginev1.HelloReply{AbiVersion: 7, ContractHash: engine.Built.Hash}
	mux := http.NewServeMux()
	mux.Handle(enginev1connect.NewEngineServiceHandler(liar{hello}))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	_, err := Open(t.Context(), Options{Address: server.URL})
	checkMismatch(t, err, "ABI version 7")
}

func TestAHostThatIsNotThereOrNoEngineIsUnavailable(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, address := range []string{"http://127.0.0.1:1", web.URL} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := Open(ctx, Options{Address: address})
		var refusal *engine.Error
		if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_UNAVAILABLE {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := Open(t.Context(), Options{Address: "127.0.0.1:1"}); err == nil {
		t.Error("an address without a scheme was accepted")
	}
}

// authority signs certificates for the test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	made := authority{}
	made.certificate, made.key, _ = issue(t, nil, "authority")
	return made
}

// issue makes a certificate for name, signed by the authority, or by itself where there is none.
func issue(t *testing.T, by *authority, name string) (*x509.Certificate, *ecdsa.PrivateKey, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: by == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key, tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}
}

func writePEM(t *testing.T, folder, name, kind string, bytes []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWithMutualTLSOnlyAClientOfTheAuthorityIsServed(t *testing.T) {
	trusted, stranger := newAuthority(t), newAuthority(t)
	server, serverKey, _ := issue(t, &trusted, "engine")
	encodedKey, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	address := "https://" + enginetest.Listen(t,
		"--tls-cert", writePEM(t, folder, "certificate.pem", "CERTIFICATE", server.Raw),
		"--tls-key", writePEM(t, folder, "key.pem", "PRIVATE KEY", encodedKey),
		"--tls-client-ca", writePEM(t, folder, "authority.pem", "CERTIFICATE", trusted.certificate.Raw))
	roots := x509.NewCertPool()
	roots.AddCert(trusted.certificate)
	_, _, good := issue(t, &trusted, "server")
	_, _, bad := issue(t, &stranger, "server")

	// Clients that connect and say nothing keep nobody else from being served.
	for range 8 {
		silent, err := net.Dial("tcp", strings.TrimPrefix(address, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	opened := open(t, Options{Address: address, TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{good}}})
	enginetest.Run(t, enginetest.Transport{Engine: opened})
	for name, config := range map[string]*tls.Config{
		"no certificate":           {RootCAs: roots},
		"a stranger's certificate": {RootCAs: roots, Certificates: []tls.Certificate{bad}},
		"another authority":        {RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{good}},
	} {
		if _, err := Open(t.Context(), Options{Address: address, TLS: config}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := Open(ctx, Options{Address: strings.Replace(address, "https", "http", 1)}); err == nil {
		t.Error("a client without TLS was accepted")
	}
	if err := ctx.Err(); err != nil {
		t.Error("a client without TLS was not told so: ", err)
	}
}
