package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkEmit measures producing durable records of 1 KiB to an embedded broker: a kgo client connected with Dial,
// with one record at a time in flight per caller.
func BenchmarkEmit(b *testing.B) {
	for _, where := range []Config{{Memory: true}, {}} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("memory=%v/callers=%d", where.Memory, callers), func(b *testing.B) {
				where.AutoCreateTopics = true
				if !where.Memory {
					where.Dir = b.TempDir()
				}
				cl := client(b, open(b, where), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
				value := []byte(strings.Repeat("x", 1024))
				emit := func() {
					if err := cl.ProduceSync(b.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
						b.Error(err)
					}
				}
				emit()
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range (b.N + callers - 1) / callers {
							emit()
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
