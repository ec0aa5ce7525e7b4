// Package tlsfiles serves and calls by TLS 1.3 with certificates that lie in files, and takes new ones from there
// without a restart: those of this node, and those of the authority that the other side must come from.
//
// A pair that cannot be used (a key that is not the certificate's, a file half written) is refused with a clear error,
// and the one before stays in use.
package tlsfiles

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ReloadInterval is how often the files are looked at, where Options say nothing else. By their content, not by events
// of the file system: those are missed on mounted secrets, which are exchanged as whole folders.
const ReloadInterval = 10 * time.Second

// fileBytesMax bounds each file. A chain of ten large certificates has a tenth of it.
const fileBytesMax = 1 << 20

// Options say where the files lie. All are PEM.
type Options struct {
	// Certificate and Key are this side's own: its chain, leaf first, and the leaf's private key.
	Certificate, Key string
	// Authority is what the other side's certificate must come from. Empty: as a server, no client certificate is asked
	// for; as a client, the system's authorities count.
	Authority string
	// Interval between two looks at the files; zero: ReloadInterval.
	Interval time.Duration
	// Exchanged is called after each exchange with when the new certificate ends; nil: nothing is.
	Exchanged func(ends time.Time)
	// Logger is told of each exchange and each refusal; nil: slog's default.
	Logger *slog.Logger
}

// pair is one state of the files, unchangeable.
type pair struct {
	certificate *tls.Certificate
	authority   *x509.CertPool
	digest      [sha256.Size]byte
}

// Files are certificates that follow their files. All methods may be called from many goroutines at once.
type Files struct {
	options Options
	current atomic.Pointer[pair]
	// reload is held while the files are read, so that an older state never replaces a newer one.
	reload sync.Mutex
	// refused is the digest of the last state that could not be used, so that it is reported once.
	refused atomic.Pointer[[sha256.Size]byte]
}

// Open reads the files. They must be usable now; from then on Watch or Reload exchange them.
func Open(options Options) (*Files, error) {
	if options.Certificate == "" || options.Key == "" {
		return nil, errors.New("tlsfiles: both a certificate and a key are needed")
	}
	if options.Interval <= 0 {
		options.Interval = ReloadInterval
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	files := &Files{options: options}
	if _, err := files.Reload(); err != nil {
		return nil, err
	}
	return files, nil
}

// Reload reads the files now, and tells whether they had changed. On an error the certificates before stay in use.
func (files *Files) Reload() (changed bool, err error) {
	files.reload.Lock()
	defer files.reload.Unlock()
	contents, digest, err := files.read()
	if err != nil {
		return false, err
	}
	if before := files.current.Load(); before != nil && before.digest == digest {
		return false, nil
	}
	next, err := parse(files.options, contents)
	if err != nil {
		return false, &refusal{digest: digest, cause: err}
	}
	next.digest = digest
	files.current.Store(next)
	return true, nil
}

// Watch exchanges the certificates whenever their files change, until ctx ends.
func (files *Files) Watch(ctx context.Context) {
	ticker := time.NewTicker(files.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			files.look()
		}
	}
}

// look reloads, and tells the logger what came of it.
func (files *Files) look() {
	changed, err := files.Reload()
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		if last := files.refused.Swap(&refused.digest); last != nil && *last == refused.digest {
			return
		}
		files.options.Logger.Error("the new certificate is refused, the one before stays in use", "reason", err)
	case err != nil:
		files.options.Logger.Error("the certificate's files cannot be read, the one before stays in use", "reason", err)
	case changed:
		leaf := files.current.Load().certificate.Leaf
		files.options.Logger.Info("a new certificate is in use", "subject", leaf.Subject.String(), "ends", leaf.NotAfter)
		if files.options.Exchanged != nil {
			files.options.Exchanged(leaf.NotAfter)
		}
	}
}

// Ends is when the certificate in use runs out.
func (files *Files) Ends() time.Time { return files.current.Load().certificate.Leaf.NotAfter }

// refusal is a state of the files that was read but cannot be used.
type refusal struct {
	digest [sha256.Size]byte
	cause  error
}

func (r *refusal) Error() string { return r.cause.Error() }
func (r *refusal) Unwrap() error { return r.cause }

// contents are the files' bytes.
type contents struct{ certificate, key, authority []byte }

func (files *Files) read() (read contents, digest [sha256.Size]byte, err error) {
	if read.certificate, err = readBounded(files.options.Certificate); err != nil {
		return read, digest, err
	}
	if read.key, err = readBounded(files.options.Key); err != nil {
		return read, digest, err
	}
	if files.options.Authority != "" {
		if read.authority, err = readBounded(files.options.Authority); err != nil {
			return read, digest, err
		}
	}
	hash := sha256.New()
	for _, part := range [][]byte{read.certificate, read.key, read.authority} {
		fmt.Fprintf(hash, "%d:", len(part))
		hash.Write(part)
	}
	return read, [sha256.Size]byte(hash.Sum(nil)), nil
}

func readBounded(path string) ([]byte, error) {
	information, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	if information.Size() > fileBytesMax {
		return nil, fmt.Errorf("tlsfiles: %s has %d bytes, more than %d", path, information.Size(), fileBytesMax)
	}
	read, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tlsfiles: %w", err)
	}
	return read, nil
}

func parse(options Options, read contents) (*pair, error) {
	certificate, err := tls.X509KeyPair(read.certificate, read.key)
	if err != nil {
		return nil, fmt.Errorf("tlsfiles: %s with %s: %w", options.Certificate, options.Key, err)
	}
	parsed := &pair{certificate: &certificate}
	if options.Authority == "" {
		return parsed, nil
	}
	parsed.authority = x509.NewCertPool()
	if !parsed.authority.AppendCertsFromPEM(read.authority) {
		return nil, fmt.Errorf("tlsfiles: %s holds no certificate", options.Authority)
	}
	return parsed, nil
}
