package jobs

import (
	"fmt"
	"sync"
	"testing"
)

// BenchmarkSubmit is from the call to its acknowledgement: state and message are on disk then.
func BenchmarkSubmit(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients, "-clients"), func(b *testing.B) {
			options := quick(startNATS(b).url)
			options.QueueMax = b.N + 1
			queue := openQueue(b, options)
			b.ResetTimer()
			var group sync.WaitGroup
			for client := range clients {
				group.Go(func() {
					for number := client; number < b.N; number += clients {
						if _, err := queue.Submit(b.Context(), embedJob("", "hello", "")); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}

// BenchmarkJob is from submission to the stored result of a call that takes no time, with 16 in flight.
func BenchmarkJob(b *testing.B) {
	options := quick(startNATS(b).url)
	options.QueueMax = b.N + 1
	options.Workers = 16
	options.Caller = callerFunc(answering)
	queue := openQueue(b, options)
	awaitEnd(b, queue, submit(b, queue, embedJob("", "the worker is there", "")).GetId())
	b.ResetTimer()
	var group sync.WaitGroup
	for client := range 16 {
		group.Go(func() {
			for number := client; number < b.N; number += 16 {
				awaitEnd(b, queue, submit(b, queue, embedJob("", "hello", "")).GetId())
			}
		})
	}
	group.Wait()
}
