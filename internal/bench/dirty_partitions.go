package bench

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dirtyAtOnce is the number of records that DirtyPartitions has in flight. It is small enough for the buffer of a
// client and the memory of a broker.
const dirtyAtOnce = 256

// DirtyPartitions produces one record with a value of recordBytes to each partition of a topic, so that the next
// checkpoint has to write every partition. It returns when all records are acknowledged.
func DirtyPartitions(ctx context.Context, e Endpoint, topic string, partitions, recordBytes int) error {
	client, err := e.Client(ctx, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	p := newPayload(Load{RecordBytes: recordBytes})
	for from := 0; from < partitions; from += dirtyAtOnce {
		var records []*kgo.Record
		for i := from; i < min(from+dirtyAtOnce, partitions); i++ {
			records = append(records, &kgo.Record{Partition: int32(i), Value: p.value(i)})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}
