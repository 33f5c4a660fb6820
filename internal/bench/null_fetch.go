package bench

import (
	"encoding/binary"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// noEnd is the high watermark of each partition in a Fetch response. It is so high that a client never reaches it.
const noEnd = int64(1) << 60

// fetch writes the response to a Fetch request. The response has whole batches, up to the number of bytes that the
// request allows per partition and in all. The first batch is sent whatever its size.
func (c *nullConn) fetch(r *kmsg.FetchRequest, correlation uint32) error {
	resp := &c.fetched
	resp.begin(r, correlation)
	c.server.mu.Lock()
	for _, t := range r.Topics {
		resp.topic(t.Topic, len(t.Partitions))
		for _, p := range t.Partitions {
			resp.partition(p, c.server.partitions[nullTopicPartition{t.Topic, p.Partition}])
		}
	}
	c.server.mu.Unlock()
	if resp.batchBytes == 0 && r.MaxWaitMillis > 0 {
		time.Sleep(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	buffers := resp.end()
	_, err := buffers.WriteTo(c.net)
	return err
}

// nullFetchResponse builds a Fetch response. The kept batches are sent from where they are in memory, except for
// their base offsets. The value is reused for the next response of the connection.
//
//	Fetch response, versions 4–11
//	throttle int32 (error int16, session int32: 7+) [topics: name [partitions: index int32, error int16,
//	high watermark int64, last stable int64, (log start int64: 5+), aborted [], (preferred replica int32: 11+),
//	records: int32 and bytes]]
type nullFetchResponse struct {
	version  int16
	maxBytes int      // maximum bytes of all batches
	fields   []byte   // everything except the batches, but including their base offsets
	cuts     []int    // positions in fields at which a batch is inserted
	batches  [][]byte // kept batches without their base offsets
	// batchBytes is the total size of the batches.
	batchBytes int
	// parts is the response as end returns it.
	parts [][]byte
}

func (f *nullFetchResponse) u16(v uint16) { f.fields = binary.BigEndian.AppendUint16(f.fields, v) }
func (f *nullFetchResponse) u32(v uint32) { f.fields = binary.BigEndian.AppendUint32(f.fields, v) }
func (f *nullFetchResponse) u64(v uint64) { f.fields = binary.BigEndian.AppendUint64(f.fields, v) }

// begin writes the part of the response before the topics.
func (f *nullFetchResponse) begin(r *kmsg.FetchRequest, correlation uint32) {
	f.version, f.maxBytes, f.batchBytes = r.Version, int(r.MaxBytes), 0
	f.fields, f.cuts, f.batches = f.fields[:0], f.cuts[:0], f.batches[:0]
	f.u32(0) // the size, set by end
	f.u32(correlation)
	f.u32(0)
	if f.version >= 7 {
		f.u16(0)
		f.u32(0)
	}
	f.u32(uint32(len(r.Topics)))
}

func (f *nullFetchResponse) topic(name string, partitions int) {
	f.u16(uint16(len(name)))
	f.fields = append(f.fields, name...)
	f.u32(uint32(partitions))
}

// partition writes a partition with its batches, starting at the requested offset. A nil log means that the partition
// is unknown.
func (f *nullFetchResponse) partition(p kmsg.FetchRequestTopicPartition, log *nullPartition) {
	f.u32(uint32(p.Partition))
	if log == nil {
		f.u16(uint16(kerr.UnknownTopicOrPartition.Code))
	} else {
		f.u16(0)
	}
	f.u64(uint64(noEnd))
	f.u64(uint64(noEnd))
	if f.version >= 5 {
		f.u64(0)
	}
	f.u32(0xffffffff) // no aborted transactions
	if f.version >= 11 {
		f.u32(0xffffffff) // no preferred replica
	}
	sizeAt := len(f.fields)
	f.u32(0)
	size := 0
	for offset := p.FetchOffset; log != nil && log.cycle > 0; {
		base, batch := log.at(offset)
		total := f.batchBytes + size
		if total > 0 && (size+len(batch) > int(p.PartitionMaxBytes) || total+len(batch) > f.maxBytes) {
			break
		}
		f.u64(uint64(base))
		f.cuts, f.batches = append(f.cuts, len(f.fields)), append(f.batches, batch[batchLengthAt:])
		size += len(batch)
		offset = base + int64(binary.BigEndian.Uint32(batch[batchCountAt:]))
	}
	binary.BigEndian.PutUint32(f.fields[sizeAt:], uint32(size))
	f.batchBytes += size
}

// end returns the response as it has to be written. The result is valid until the next call of begin.
func (f *nullFetchResponse) end() net.Buffers {
	f.parts = f.parts[:0]
	from, length := 0, len(f.fields)-4
	for i, to := range f.cuts {
		f.parts = append(f.parts, f.fields[from:to], f.batches[i])
		from = to
		length += len(f.batches[i])
	}
	f.parts = append(f.parts, f.fields[from:])
	binary.BigEndian.PutUint32(f.fields, uint32(length))
	return slices.Clone(f.parts) // WriteTo consumes its receiver
}
