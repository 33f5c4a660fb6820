package logclient

import (
	"encoding/binary"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch that cannot be decompressed would stop every reader of its partition: kgo fetches it again and again. Brokers
// refuse such batches, but one may be in the log from a time before they did. So the clients of this package use a
// decompressor that gives kgo empty records in place of such a batch: the reader gets one for each offset, which is no
// event, and goes on after them. They have a header by which Undecodable knows them, and the first of each batch is
// logged with its place.
//
// The same is done for the records that a compressed batch claims to have and lacks. That cannot be seen at once, since
// a decompressor does not know the claim: kgo comes back with the same block. What it gets from then on has empty
// records after the true ones, of which kgo takes as many as the batch claims.
//
// Batches that claim more than maxStandIns records, and those that are not compressed, come to no decompressor or cannot be
// replaced by one: see undecodable_wire.go.

// undecodableHeader is the key of the only header of a record that stands in for one that cannot be decoded.
const undecodableHeader = "tidings-undecodable"

// maxStandIns is the largest number of records in a batch that can be replaced.
const maxStandIns = 1 << 14

// comesAgain is how many times a block may be decompressed before it gets stand-ins at its end.
const comesAgain = 3

// Undecodable reports whether a record that was read stands in for one that the log has and nobody can decode, or for all
// records of a batch. Its key and its value are null.
func Undecodable(r *kgo.Record) bool {
	return len(r.Headers) == 1 && r.Headers[0].Key == undecodableHeader && r.Value == nil
}

// passing is the decompressor of the clients of this package, and a hook of theirs that logs what is passed over.
type passing struct {
	kgo.Decompressor
	log  *slog.Logger
	seed maphash.Seed

	mu     sync.Mutex           // protects the fields below
	blocks map[uint64]int       // how many times blocks were decompressed, by hash
	passed map[partition]int64  // offset of the last stand-in of a partition
	logged map[batchOffset]bool // stand-ins at which a log line was written
	held   map[partition]*held

	responses atomic.Uint64 // number of responses to fetches, of all clients
	lookUntil atomic.Uint64 // the connections look into responses while there are fewer than that
	watched   atomic.Int64  // number of values in held that sawRecord changes
}

// batchOffset is the place of the first stand-in of a batch.
type batchOffset struct {
	partition
	offset int64
}

// maxRemembered bounds each of the maps of passing. One that is full begins anew.
const maxRemembered = 4096

func newPassing(log *slog.Logger) *passing {
	return &passing{
		Decompressor: kgo.DefaultDecompressor(), log: log, seed: maphash.MakeSeed(),
		blocks: make(map[uint64]int), passed: make(map[partition]int64), logged: make(map[batchOffset]bool),
		held: make(map[partition]*held),
	}
}

// Decompress implements kgo.Decompressor. Several goroutines may call it.
func (p *passing) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	out, err := p.Decompressor.Decompress(src, codec)
	if err != nil {
		return standIns(), nil
	}
	n, whole := countRecords(out)
	switch {
	case !whole || n == 0:
		return standIns(), nil
	case p.sees(src) > comesAgain && n < maxStandIns:
		return append(out[:len(out):len(out)], standIns()[standInBytes(n):]...), nil
	}
	return out, nil
}

// sees returns how many times the block has been decompressed, with this time.
func (p *passing) sees(block []byte) int {
	var h maphash.Hash
	h.SetSeed(p.seed)
	h.Write(block[:min(len(block), 64)])
	h.Write(block[max(0, len(block)-64):])
	sum := h.Sum64() ^ uint64(len(block))
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.blocks) >= maxRemembered {
		clear(p.blocks)
	}
	p.blocks[sum]++
	return p.blocks[sum]
}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered: kgo calls it for each record that it has received. It
// logs each first stand-in of a batch once.
func (p *passing) OnFetchRecordBuffered(r *kgo.Record) {
	p.sawRecord(r)
	if !Undecodable(r) {
		return
	}
	at, offset := partition{r.Topic, r.Partition}, r.Offset
	if first := r.Headers[0].Value; len(first) == 8 { // it stands in for several records
		offset = int64(binary.BigEndian.Uint64(first))
	}
	p.mu.Lock()
	last, ok := p.passed[at]
	if len(p.passed) >= maxRemembered {
		clear(p.passed)
	}
	p.passed[at] = r.Offset
	p.mu.Unlock()
	if !(ok && last == r.Offset-1 && offset == r.Offset) {
		p.say(at, offset)
	}
}

// say logs, once, that what a partition has at an offset cannot be decoded. p.mu must not be held.
func (p *passing) say(at partition, offset int64) {
	place := batchOffset{at, offset}
	p.mu.Lock()
	said := p.logged[place]
	if len(p.logged) >= maxRemembered {
		clear(p.logged)
	}
	p.logged[place] = true
	p.mu.Unlock()
	if !said {
		p.log.Warn("records in the log cannot be decoded: passing over them", "topic", at.topic, "partition", at.number, "offset", offset)
	}
}

// minRecordBytes is the least length that a record states: attributes, two deltas, null key, null value, no headers.
const minRecordBytes = 6

// countRecords returns how many records a block has, and whether it has nothing else.
func countRecords(block []byte) (n int, whole bool) {
	for len(block) > 0 {
		length, used := binary.Varint(block)
		if used <= 0 || length < minRecordBytes || length > int64(len(block)-used) {
			return n, false
		}
		block = block[used+int(length):]
		n++
	}
	return n, true
}

// standIns returns a block of maxStandIns stand-ins, with the offsets 0, 1, 2 and so on. The caller must not change it.
var standIns = sync.OnceValue(func() []byte { return appendStandIns(nil, maxStandIns) })

// standInBytes returns the size of the first n stand-ins.
func standInBytes(n int) int { return len(appendStandIns(nil, n)) }

// appendStandIns appends n stand-ins to b.
func appendStandIns(b []byte, n int) []byte {
	for i := range n {
		b = appendStandIn(b, int64(i), nil)
	}
	return b
}

// appendStandIn appends a stand-in with an offset in its batch to b. value is that of its header.
func appendStandIn(b []byte, offset int64, value []byte) []byte {
	body := binary.AppendVarint([]byte{0, 0}, offset) // attributes, no difference in time, offset
	body = append(body, 1, 1, 2)                      // null key, null value, one header
	body = binary.AppendVarint(body, int64(len(undecodableHeader)))
	body = append(body, undecodableHeader...)
	if value == nil {
		body = append(body, 1) // null
	} else {
		body = append(binary.AppendVarint(body, int64(len(value))), value...)
	}
	return append(binary.AppendVarint(b, int64(len(body))), body...)
}
