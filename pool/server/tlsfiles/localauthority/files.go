package localauthority

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// signed is a certificate with its key.
type signed struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func read(certificate, key string) (*signed, error) {
	for _, path := range []string{certificate, key} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("localauthority: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("localauthority: %s with %s: %w; remove both to have them made anew", certificate, key, err)
	}
	signer, can := pair.PrivateKey.(crypto.Signer)
	if !can {
		return nil, fmt.Errorf("localauthority: the key %s cannot sign", key)
	}
	return &signed{certificate: pair.Leaf, key: signer}, nil
}

// write puts both files in place, the key for its owner alone. The key first: a server that looks in between sees a pair
// that does not fit, and keeps the one before.
func (signed *signed) write(certificate, key string) error {
	encoded, err := x509.MarshalPKCS8PrivateKey(signed.key)
	if err != nil {
		return fmt.Errorf("localauthority: %w", err)
	}
	if err := writeWhole(key, "PRIVATE KEY", encoded, 0o600); err != nil {
		return err
	}
	return writeWhole(certificate, "CERTIFICATE", signed.certificate.Raw, 0o644)
}

// writeWhole replaces a file in one step, so that nobody reads half of it.
func writeWhole(path, kind string, bytes []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("localauthority: %w", err)
	}
	defer os.Remove(file.Name())
	if err = file.Chmod(mode); err == nil {
		err = pem.Encode(file, &pem.Block{Type: kind, Bytes: bytes})
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("localauthority: %s: %w", path, err)
	}
	return nil
}
