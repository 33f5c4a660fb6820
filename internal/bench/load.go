package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Load describes how records are produced. RecordBytes, Producers and Duration are required.
type Load struct {
	RecordBytes int  // size of a record's value
	Text        bool // values compress about as well as JSON; false: values are random bytes, which do not compress
	Keys        int  // number of different keys; 0: records have no keys, and kgo chooses the partitions
	Producers   int  // number of clients, each with its own connection
	// Emitters is the number of goroutines, over all producers, that send a record and wait for its acknowledgement. If it
	// is 0, producers are asynchronous.
	Emitters int
	Rate     float64       // records per second over all producers; 0: as fast as possible
	Duration time.Duration // measured time
	Warmup   time.Duration // time before Duration with the same load that is not measured

	// Options of kgo. A zero value means kgo's default, except for Linger, which is then 0.
	Linger             time.Duration
	BatchBytes         int32  // maximum size of a batch; kgo's default: 1,000,012
	Buffered           int    // maximum number of unacknowledged records in a client before it blocks; kgo's default: 50,000
	Acks               string // all, 1 or 0; "": all
	Inflight           int    // maximum number of produce requests in flight without idempotence; kgo's default: 1
	DisableIdempotence bool   // produce without a producer id
	Compression        string // none, gzip, snappy, lz4 or zstd; "": none
}

// ErrLoad is the error of a load that cannot be run.
var ErrLoad = errors.New("impossible load")

// Check returns an error that matches ErrLoad if the load cannot be run.
func (l Load) Check() error {
	_, err := l.options()
	switch {
	case err != nil:
		return err
	case l.RecordBytes < 1:
		return fmt.Errorf("%w: records of %d bytes", ErrLoad, l.RecordBytes)
	case l.Producers < 1:
		return fmt.Errorf("%w: %d producers", ErrLoad, l.Producers)
	case l.Emitters < 0, l.Keys < 0, l.Rate < 0:
		return fmt.Errorf("%w: a count below zero", ErrLoad)
	case l.Emitters > 0 && l.Emitters < l.Producers:
		return fmt.Errorf("%w: %d emitters for %d producers", ErrLoad, l.Emitters, l.Producers)
	}
	return nil
}

// options returns the options for a kgo client that produces the load. Its error matches ErrLoad.
func (l Load) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.ProducerLinger(l.Linger)}
	if l.BatchBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(l.BatchBytes))
	}
	if l.Buffered > 0 {
		opts = append(opts, kgo.MaxBufferedRecords(l.Buffered))
	}
	if l.Inflight > 0 {
		opts = append(opts, kgo.MaxProduceRequestsInflightPerBroker(l.Inflight))
	}
	switch l.Acks {
	case "", "all":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()))
	default:
		return nil, fmt.Errorf("%w: acks %q; want all, 1 or 0", ErrLoad, l.Acks)
	}
	if l.DisableIdempotence || l.Acks == "0" || l.Acks == "1" { // Kafka requires acks=all for idempotence
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	codecs := map[string]kgo.CompressionCodec{
		"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[l.Compression]
	if !ok {
		return nil, fmt.Errorf("%w: compression %q; want none, gzip, snappy, lz4 or zstd", ErrLoad, l.Compression)
	}
	return append(opts, kgo.ProducerBatchCompression(codec)), nil
}
