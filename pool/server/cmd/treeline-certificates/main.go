// Command treeline-certificates makes an authority of this machine's own, and a server's and a client's certificate of it.
// What is there and good is left alone, so it may be run at every start.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"treeline.dev/pool/tlsfiles/localauthority"
)

const usage = `Makes certificates for TLS between the edge, the pool and its services, signed by an authority of this machine's own.

Usage: treeline-certificates [flags]

  -folder FOLDER  where they lie; made for its owner alone (.treeline/certificates)
  -hosts HOSTS    names and IP addresses, divided by commas (localhost,127.0.0.1,::1)
  -help           this text

Files: ca.crt and ca.key, server.crt and server.key, client.crt and client.key. What is there and good for a month more
is left alone; a server that runs takes new files up by itself.
`

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("treeline-certificates", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	folder := flags.String("folder", filepath.Join(".treeline", "certificates"), "")
	hosts := flags.String("hosts", "localhost,127.0.0.1,::1", "")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q; see -help", flags.Arg(0))
	}
	written, err := localauthority.Ensure(localauthority.Request{
		Folder: *folder,
		Hosts:  strings.Split(*hosts, ","),
		Now:    time.Now(),
	})
	if err != nil {
		return err
	}
	if len(written) == 0 {
		fmt.Printf("The certificates in %s are good.\n", *folder)
		return nil
	}
	fmt.Printf("Made in %s: %s\n", *folder, strings.Join(written, ", "))
	return nil
}
