package bench

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Ready produces one record to a broker that has just been started, and tells how long it is since began that it was
// acknowledged: connecting, metadata, and a producer id of its own are in it. The latency has that one value.
func Ready(ctx context.Context, e Endpoint, topic string, began time.Time) (Measured, error) {
	client, err := e.client(ctx, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		return Measured{}, err
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, kgo.StringRecord("ready")).FirstErr(); err != nil {
		return Measured{}, err
	}
	m := Measured{Records: 1, Elapsed: time.Since(began), Latency: &Histogram{}}
	m.Latency.Record(m.Elapsed)
	if used := e.usage(); used != nil {
		m.Server = used // all that it has used since it began
	}
	return m, nil
}
