package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is for listeners. Each handshake uses the certificates of that moment. Where there is an authority, a client
// must show a certificate of it.
func (files *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return files.current.Load().server(), nil
		},
	}
}

func (current *pair) server() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{*current.certificate},
		// A resumed session would still count after its authority has been taken away.
		SessionTicketsDisabled: true,
	}
	if current.authority != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = current.authority
	}
	return config
}

// Client is for calls to servers that ask for a certificate: etcd, NATS, an engine on another host. This side shows its
// certificate of that moment. The server's must come from the authority, and be made out for serverName, a name or an IP
// address; empty: for what is called.
//
// With a serverName the authority is that of the moment. Without, it is that of now: only crypto/tls itself knows what is
// called, and its own check cannot be given another authority later. A new authority then needs a restart.
func (files *Files) Client(serverName string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return files.current.Load().certificate, nil
		},
	}
	if serverName == "" {
		config.RootCAs = files.current.Load().authority
		return config
	}
	// The library's own check is off, and verifyServer makes the same one against the authority of the moment, in every
	// handshake.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		return verifyServer(state, serverName, files.current.Load().authority)
	}
	return config
}

// verifyServer checks chain, name, dates and use as crypto/tls does for a client. A nil authority: the system's.
func verifyServer(state tls.ConnectionState, name string, authority *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("tlsfiles: the server showed no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:         authority,
		Intermediates: intermediates,
		DNSName:       name,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("tlsfiles: the server's certificate: %w", err)
	}
	return nil
}

// Bounds of HTTPClient.
const (
	// headTimeout bounds the wait for a response's head.
	headTimeout = 30 * time.Second
	// connectTimeout bounds making a connection, handshake included.
	connectTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
	idlePerHostMax = 16
)

// HTTPClient calls with this side's certificate, by HTTP/2 where the server speaks it. It sets no deadline for a whole
// call: that is its context's.
func (files *Files) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialTLSContext:        files.dial,
		ResponseHeaderTimeout: headTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   idlePerHostMax,
		ForceAttemptHTTP2:     true,
	}}
}

// dial makes a connection to address, whose host the certificate must be made out for, be it a name or an IP address.
func (files *Files) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	config := files.Client(host)
	config.NextProtos = []string{"h2", "http/1.1"}
	return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
}
