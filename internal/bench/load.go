package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Load says how records are produced. RecordBytes, Producers and Duration are required.
type Load struct {
	RecordBytes int           // of the value
	Text        bool          // values that compress about as JSON does; false: random bytes, which do not
	Keys        int           // how many different keys; 0: none, and kgo's own choice of partitions
	Producers   int           // clients, each with its own connection
	Emitters    int           // callers that send one record at a time and wait for it, over all producers; 0: asynchronous
	Rate        float64       // records a second, in all; 0: as fast as it goes
	Duration    time.Duration // that is measured
	Warmup      time.Duration // before it

	// What kgo is told; the zero value of each is kgo's own default, except Linger.
	Linger      time.Duration // 0: none
	BatchBytes  int32         // kgo: 1,000,012
	Buffered    int           // records that wait in a client before it blocks; kgo: 50,000
	Acks        string        // all, 1, 0
	Inflight    int           // produce requests under way without idempotence; kgo: 1
	NoIdempo    bool          // produce without a producer id
	Compression string        // none, gzip, snappy, lz4, zstd; "": none
}

// ErrLoad matches errors of a load that makes no sense.
var ErrLoad = errors.New("impossible load")

// Check reports why a load cannot be run: an error that matches ErrLoad.
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

// options translate a load for kgo.
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
	if l.NoIdempo || l.Acks == "0" || l.Acks == "1" { // Kafka has no idempotence without acks=all
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

// payloadBytes is how much there is to cut values from, at least. It fits a cache: the records' source is not what is measured.
const payloadBytes = 1 << 20

// payload hands out values and keys without making any. It is never written to, so that all producers share one.
type payload struct {
	source []byte
	size   int
	keys   [][]byte
}

func newPayload(l Load) *payload {
	rng := rand.New(rand.NewPCG(1, 2)) // the same bytes for every contender
	p := &payload{size: l.RecordBytes, source: make([]byte, payloadBytes+l.RecordBytes)}
	if l.Text {
		fillText(p.source, rng)
	} else {
		for i := 0; i+8 <= len(p.source); i += 8 {
			binary.LittleEndian.PutUint64(p.source[i:], rng.Uint64())
		}
	}
	for i := range l.Keys {
		p.keys = append(p.keys, fmt.Appendf(nil, "order/%08d", i))
	}
	return p
}

func fillText(b []byte, rng *rand.Rand) {
	words := []string{`"order":`, `"quantity":`, `"price_pence":`, `"country":"United Kingdom",`, `"customer":`, `"description":"`, `T-LIGHT HOLDER",`}
	var text []byte
	for len(text) < len(b) {
		text = append(text, words[rng.IntN(len(words))]...)
		text = fmt.Appendf(text, "%d,", rng.IntN(1_000_000))
	}
	copy(b, text)
}

// value is the n-th value.
func (p *payload) value(n int) []byte {
	at := (n * 8191) % payloadBytes // a prime: neighbours differ
	return p.source[at : at+p.size : at+p.size]
}

// key draws a key; nil if there are none.
func (p *payload) key(rng *rand.Rand) []byte {
	if len(p.keys) == 0 {
		return nil
	}
	return p.keys[rng.IntN(len(p.keys))]
}
