package bench

import (
	"encoding/binary"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Byte positions of fields in a record batch v2 (KIP-98), and the size of its header.
const (
	batchBaseAt      = 0
	batchLengthAt    = 8
	batchLastDeltaAt = 23
	batchCountAt     = 57
	batchHeadBytes   = 61
)

// nullTopicPartition identifies a partition of a null server.
type nullTopicPartition struct {
	topic string
	index int32
}

// nullPartition is a partition of a null server. Its kept batches are served in an endless sequence of cycles: the
// batch at index i has the base offset firsts[i] in the first cycle, firsts[i]+cycle in the second, and so on.
type nullPartition struct {
	end     int64 // number of records produced
	batches [][]byte
	firsts  []int64
	cycle   int64 // number of records in batches
}

// produce counts the records of a request. It keeps their batches while all kept batches have at most KeepBytes
// bytes.
func (n *NullServer) produce(r *kmsg.ProduceRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrProduceResponse()
	for _, t := range r.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			answer := kmsg.NewProduceResponseTopicPartition()
			answer.Partition = p.Partition
			log := n.partitions[nullTopicPartition{t.Topic, p.Partition}]
			switch {
			case log == nil:
				answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case len(p.Records) < batchHeadBytes:
				answer.ErrorCode = kerr.CorruptMessage.Code
			default:
				answer.BaseOffset, answer.LogStartOffset = log.end, 0
				if n.keptBytes+int64(len(p.Records)) <= n.KeepBytes {
					n.keptBytes += int64(len(p.Records))
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

// keep adds a batch to those that are served. The batch must not be changed afterwards.
func (p *nullPartition) keep(batch []byte) {
	p.batches = append(p.batches, batch)
	p.firsts = append(p.firsts, p.cycle)
	p.cycle += int64(binary.BigEndian.Uint32(batch[batchCountAt:]))
}

// at returns the batch that contains an offset, and the base offset of the batch in the cycle that contains the
// offset. p must have a batch.
func (p *nullPartition) at(offset int64) (base int64, batch []byte) {
	start := offset - offset%p.cycle
	i := sort.Search(len(p.firsts), func(i int) bool { return p.firsts[i] > offset-start }) - 1
	return start + p.firsts[i], p.batches[i]
}
