package bench

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Ready measures the time from the start of a broker to the first acknowledgement. Both fields are required.
type Ready struct {
	Topic     string
	StartedAt time.Time // when the process of the broker was started
}

// Run connects, produces one record and waits for its acknowledgement. Elapsed, and the only entry of Latency, is the
// time since StartedAt. It includes connecting, and requesting metadata and a producer id. Server is the usage of the
// broker's process since it began.
func (r Ready) Run(ctx context.Context, e Endpoint) (Measured, error) {
	client, err := e.Client(ctx, kgo.DefaultProduceTopic(r.Topic), kgo.ProducerLinger(0))
	if err != nil {
		return Measured{}, err
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, kgo.StringRecord("ready")).FirstErr(); err != nil {
		return Measured{}, err
	}
	m := Measured{Records: 1, Elapsed: time.Since(r.StartedAt), Latency: &Histogram{}, Server: e.usage()}
	m.Latency.Record(m.Elapsed)
	return m, nil
}
