// Package contracthash computes the hash by which the server and the engine know that they were built from the same
// contract. It is the one of pool/engine/contract/build.rs.
package contracthash

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
)

// files are hashed in this order.
var files = []string{"services.proto", "engine.proto"}

// Of is the hash of the contract in folder: FNV-1a, 64 bits, 16 hexadecimal digits. It guards against mistakes, not people.
func Of(folder string) (string, error) {
	sum := fnv.New64a()
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		sum.Write(content)
	}
	return fmt.Sprintf("%016x", sum.Sum64()), nil
}
