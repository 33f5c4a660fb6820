package bench

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// soilAtOnce bounds the records of Soil that are under way, so that they fit a client's buffer and a broker's memory.
const soilAtOnce = 256

// Soil produces one record of so many bytes to each partition of a topic, so that each of them has something that is
// not in a checkpoint, and returns when all are acknowledged.
func Soil(ctx context.Context, e Endpoint, topic string, partitions, recordBytes int) error {
	client, err := e.client(ctx, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	p := newPayload(Load{RecordBytes: recordBytes})
	for from := 0; from < partitions; from += soilAtOnce {
		var records []*kgo.Record
		for i := from; i < min(from+soilAtOnce, partitions); i++ {
			records = append(records, &kgo.Record{Partition: int32(i), Value: p.value(i)})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}
