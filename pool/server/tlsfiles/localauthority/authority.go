// Package localauthority makes certificates for machines of one's own: an authority, and a server's and a client's
// certificate of it. They are for development and for pools inside one network; nobody else will trust them.
package localauthority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of the files in a folder of certificates.
const (
	AuthorityCertificate = "ca.crt"
	AuthorityKey         = "ca.key"
	ServerCertificate    = "server.crt"
	ServerKey            = "server.key"
	ClientCertificate    = "client.crt"
	ClientKey            = "client.key"
)

const (
	// authorityLife and leafLife are how long certificates are good for. Some systems refuse leaves of more than 825 days.
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 397 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how much slower another machine's clock may be.
	clockSkew  = 5 * time.Minute
	serialBits = 128
	// hostsMax bounds the names in a certificate, hostBytesMax each.
	hostsMax     = 100
	hostBytesMax = 253
)

// Request is what to make.
type Request struct {
	// Folder that the files lie in; made where it is missing, for its owner alone.
	Folder string
	// Hosts that the certificates are made out for, names and IP addresses.
	Hosts []string
	// Now is the time; certificates that end soon are made anew.
	Now time.Time
}

// Ensure makes what is missing, is about to end, is made out for other hosts, or is of another authority, and leaves the
// rest alone. It gives the names of the files that it has written.
func Ensure(request Request) (written []string, err error) {
	if len(request.Hosts) == 0 || len(request.Hosts) > hostsMax {
		return nil, fmt.Errorf("localauthority: 1 to %d hosts, not %d", hostsMax, len(request.Hosts))
	}
	for _, host := range request.Hosts {
		if host == "" || len(host) > hostBytesMax || strings.ContainsAny(host, " /:") && net.ParseIP(host) == nil {
			return nil, fmt.Errorf("localauthority: a host is a name or an IP address, not %q", host)
		}
	}
	if err := os.MkdirAll(request.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	authority, made, err := request.ensureAuthority()
	if err != nil {
		return nil, err
	}
	written = append(written, made...)
	for _, leaf := range []leaf{
		{"treeline pool server", ServerCertificate, ServerKey},
		{"treeline pool client", ClientCertificate, ClientKey},
	} {
		made, err := request.ensureLeaf(leaf, authority)
		if err != nil {
			return written, err
		}
		written = append(written, made...)
	}
	return written, nil
}

func (request Request) ensureAuthority() (*signed, []string, error) {
	path := func(name string) string { return filepath.Join(request.Folder, name) }
	authority, err := read(path(AuthorityCertificate), path(AuthorityKey))
	if err == nil && authority.certificate.IsCA && request.lasts(authority.certificate) {
		return authority, nil, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	authority, err = request.make(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "treeline local authority"},
		NotAfter:              request.Now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
	if err != nil {
		return nil, nil, err
	}
	return authority, []string{AuthorityCertificate, AuthorityKey}, authority.write(path(AuthorityCertificate), path(AuthorityKey))
}

// leaf is a certificate of the authority.
type leaf struct{ name, certificate, key string }

func (request Request) ensureLeaf(leaf leaf, authority *signed) ([]string, error) {
	certificate, key := filepath.Join(request.Folder, leaf.certificate), filepath.Join(request.Folder, leaf.key)
	present, err := read(certificate, key)
	if err == nil && request.isGood(present.certificate, authority.certificate) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	names, addresses := divide(request.Hosts)
	made, err := request.make(&x509.Certificate{
		Subject:     pkix.Name{CommonName: leaf.name},
		NotAfter:    earlier(request.Now.Add(leafLife), authority.certificate.NotAfter),
		DNSNames:    names,
		IPAddresses: addresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		// A node is both: a server to its clients, and a client to engines on other hosts.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, authority)
	if err != nil {
		return nil, err
	}
	return []string{leaf.certificate, leaf.key}, made.write(certificate, key)
}

func (request Request) lasts(certificate *x509.Certificate) bool {
	return certificate.NotBefore.Before(request.Now) && certificate.NotAfter.After(request.Now.Add(renewBefore))
}

func (request Request) isGood(certificate, authority *x509.Certificate) bool {
	names, addresses := divide(request.Hosts)
	hasAddresses := slices.EqualFunc(certificate.IPAddresses, addresses, net.IP.Equal)
	isOf := certificate.CheckSignatureFrom(authority) == nil
	return request.lasts(certificate) && isOf && hasAddresses && slices.Equal(certificate.DNSNames, names)
}

func divide(hosts []string) (names []string, addresses []net.IP) {
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			addresses = append(addresses, address)
		} else {
			names = append(names, host)
		}
	}
	return names, addresses
}

func earlier(one, other time.Time) time.Time {
	if one.Before(other) {
		return one
	}
	return other
}

// make fills the template in, and signs it with the authority's key; nil: with its own.
func (request Request) make(template *x509.Certificate, authority *signed) (*signed, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	template.NotBefore = request.Now.Add(-clockSkew)
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	if template.SubjectKeyId, err = keyID(&key.PublicKey); err != nil {
		return nil, err
	}
	parent, signer := template, crypto.Signer(key)
	if authority != nil {
		parent, signer = authority.certificate, authority.key
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	return &signed{certificate: certificate, key: key}, nil
}

// keyID names a key by its digest, shortened as RFC 7093 has it.
func keyID(key *ecdsa.PublicKey) ([]byte, error) {
	encoded, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("localauthority: %w", err)
	}
	digest := sha256.Sum256(encoded)
	return digest[:20], nil
}
