package bench

import (
	"encoding/binary"
	"net"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where things stand in a record batch v2 (KIP-98), and how long its head is.
const (
	batchBaseAt      = 0
	batchLengthAt    = 8
	batchLastDeltaAt = 23
	batchCountAt     = 57
	batchHeadBytes   = 61
)

// endless is the high watermark of partitions that are fetched from: a source never ends.
const endless = int64(1) << 60

// produce counts records and forgets them, but for the first KeepBytes.
func (n *Null) produce(r *kmsg.ProduceRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrProduceResponse()
	for _, t := range r.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			answer := kmsg.NewProduceResponseTopicPartition()
			answer.Partition = p.Partition
			log := n.logs[nullPartition{t.Topic, p.Partition}]
			switch {
			case log == nil:
				answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case len(p.Records) < batchHeadBytes:
				answer.ErrorCode = kerr.CorruptMessage.Code
			default:
				answer.BaseOffset, answer.LogStartOffset = log.end, 0
				if n.kept+int64(len(p.Records)) <= n.KeepBytes {
					n.kept += int64(len(p.Records))
					log.keep(append([]byte(nil), p.Records...))
				}
				log.end += int64(binary.BigEndian.Uint32(p.Records[batchCountAt:]))
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	if r.Acks == 0 {
		return nil
	}
	return resp
}

// keep adds one batch to what is fetched. Batches are never changed again.
func (l *nullLog) keep(batch []byte) {
	l.batches = append(l.batches, batch)
	l.firsts = append(l.firsts, l.cycle)
	l.cycle += int64(binary.BigEndian.Uint32(batch[batchCountAt:]))
}

func (n *Null) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range r.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.Timestamp = p.Partition, -1
			log := n.logs[nullPartition{t.Topic, p.Partition}]
			switch {
			case log == nil:
				answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case p.Timestamp == -2:
				answer.Offset = 0
			default:
				answer.Offset = log.end
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// fetch answers with whole batches, the first whatever its size, up to the bytes that each partition and the request
// allow. Batches are written from where they are kept; only their base offsets are new.
//
//	Fetch response, versions 4–11
//	throttle int32 (error int16, session int32: 7+) [topics: name [partitions: index int32, error int16,
//	high watermark int64, last stable int64, (log start int64: 5+), aborted [], (preferred replica int32: 11+),
//	records: int32 and bytes]]
func (c *nullConn) fetch(r *kmsg.FetchRequest, correlation uint32) error {
	c.heads, c.parts = c.heads[:0], c.parts[:0]
	type cut struct{ end int } // of heads, where a kept batch follows
	var cuts []cut
	var bodies [][]byte
	u16 := func(v uint16) { c.heads = binary.BigEndian.AppendUint16(c.heads, v) }
	u32 := func(v uint32) { c.heads = binary.BigEndian.AppendUint32(c.heads, v) }
	u64 := func(v uint64) { c.heads = binary.BigEndian.AppendUint64(c.heads, v) }
	u32(0) // the size, below
	u32(correlation)
	u32(0)
	if r.Version >= 7 {
		u16(0)
		u32(0)
	}
	total, budget := 0, int(r.MaxBytes)
	u32(uint32(len(r.Topics)))
	c.null.mu.Lock()
	for _, t := range r.Topics {
		u16(uint16(len(t.Topic)))
		c.heads = append(c.heads, t.Topic...)
		u32(uint32(len(t.Partitions)))
		for _, p := range t.Partitions {
			log := c.null.logs[nullPartition{t.Topic, p.Partition}]
			u32(uint32(p.Partition))
			if log == nil {
				u16(uint16(kerr.UnknownTopicOrPartition.Code))
			} else {
				u16(0)
			}
			u64(uint64(endless))
			u64(uint64(endless))
			if r.Version >= 5 {
				u64(0)
			}
			u32(0xffffffff) // no aborted transactions
			if r.Version >= 11 {
				u32(0xffffffff)
			}
			sizeAt := len(c.heads)
			u32(0)
			size := 0
			for offset := p.FetchOffset; log != nil && log.cycle > 0; {
				base, batch := log.at(offset)
				if total+size > 0 && (size+len(batch) > int(p.PartitionMaxBytes) || total+size+len(batch) > budget) {
					break
				}
				u64(uint64(base))
				cuts, bodies = append(cuts, cut{len(c.heads)}), append(bodies, batch[batchLengthAt:])
				size += len(batch)
				offset = base + int64(binary.BigEndian.Uint32(batch[batchCountAt:]))
			}
			binary.BigEndian.PutUint32(c.heads[sizeAt:], uint32(size))
			total += size
		}
	}
	c.null.mu.Unlock()
	if total == 0 && r.MaxWaitMillis > 0 {
		time.Sleep(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	}
	from, length := 0, len(c.heads)-4
	for i, at := range cuts {
		c.parts = append(c.parts, c.heads[from:at.end], bodies[i])
		from = at.end
		length += len(bodies[i])
	}
	c.parts = append(c.parts, c.heads[from:])
	binary.BigEndian.PutUint32(c.heads, uint32(length))
	if err := c.out.Flush(); err != nil {
		return err
	}
	buffers := net.Buffers(append([][]byte(nil), c.parts...)) // WriteTo eats what it is given
	_, err := buffers.WriteTo(c.net)
	return err
}

// at returns the batch that holds an offset, and its base offset in the round that the offset is in.
func (l *nullLog) at(offset int64) (base int64, batch []byte) {
	round := offset - offset%l.cycle
	i := sort.Search(len(l.firsts), func(i int) bool { return l.firsts[i] > offset-round }) - 1
	return round + l.firsts[i], l.batches[i]
}
