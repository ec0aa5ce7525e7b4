//go:build ffi

// Command boundarybench measures what a call from this server to its engine costs: through the library (ffi), by shared
// memory, by gRPC, and, for comparison, by a plain Unix socket to a process that does the same. bench/ipc/run.sh runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// sizes are the bytes of a call's payload.
var sizes = []int{64, 64 << 10, 1 << 20, 16 << 20}

// operations: a sum, the payload back as it is, and the payload through a model that answers with a copy of its input.
var operations = []enginev1.Operation{
	enginev1.Operation_OPERATION_SUM, enginev1.Operation_OPERATION_ECHO, enginev1.Operation_OPERATION_INFER,
}

func main() {
	program := flag.String("engine-program", "treeline-engine", "path of treeline-engine")
	duration := flag.Duration("time", 500*time.Millisecond, "time for each row")
	callers := flag.Int("callers", 1, "callers at once")
	peer := flag.String("peer", "", "be the process behind the Unix socket, which is file descriptor 3; a folder of models")
	flag.Parse()
	if *peer != "" {
		exitOn(runPeer(*peer))
		return
	}
	exitOn(run(*program, *duration, *callers))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(program string, duration time.Duration, callers int) error {
	ways, closeAll, err := openWays(context.Background(), program)
	if err != nil {
		return err
	}
	defer closeAll()
	fmt.Printf("%d CPUs, %s, %d at once, %v a row. CPU is that of both processes. \"written in place\": the data was\n"+
		"there, in memory that the way can use as it is, when time began; everywhere else it was in Go's own memory. Infer:\n"+
		"the model itself writes its output, as long as the input, once.\n\n",
		runtime.NumCPU(), runtime.Version(), callers, duration)
	header := fmt.Sprintf("%-5s %-8s %-28s %11s %11s %11s %11s %13s",
		"call", "bytes", "way", "calls/s", "p50 µs", "p99 µs", "CPU µs", "bytes copied")
	fmt.Println(header)
	medians := map[string]time.Duration{}
	for _, operation := range operations {
		for _, size := range sizes {
			fmt.Println(strings.Repeat("-", len([]rune(header))))
			for _, way := range ways {
				if operation == enginev1.Operation_OPERATION_INFER && way.name == wayUnixSocket {
					continue // Behind the socket there is no model.
				}
				measured, err := measure(way, operation, size, duration, callers)
				if err != nil {
					return fmt.Errorf("%s, %d bytes: %w", way.name, size, err)
				}
				measured.print(operation, size, way.name)
				medians[key(operation, size, way.name)] = measured.p50
			}
		}
	}
	fmt.Println()
	printRatios(medians)
	return printBare(ways[0])
}

func key(operation enginev1.Operation, size int, name string) string {
	return fmt.Sprint(operation, size, name)
}

func nameOf(operation enginev1.Operation) string {
	return strings.ToLower(strings.TrimPrefix(operation.String(), "OPERATION_"))
}

// printRatios compares shared memory with the Unix socket.
func printRatios(medians map[string]time.Duration) {
	for _, operation := range operations {
		for _, size := range sizes {
			socket, ok := medians[key(operation, size, wayUnixSocket)]
			if !ok {
				continue
			}
			for _, name := range []string{waySharedInPlace, waySharedCopied} {
				shared := medians[key(operation, size, name)]
				fmt.Printf("%-4s %9d bytes: %-28s is %5.1f times as fast as the Unix socket (p50)\n",
					nameOf(operation), size, name, float64(socket)/float64(shared))
			}
		}
	}
}
