package logclient

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// acknowledged knows how far records reach that the log has acknowledged to this process, or that the process has read, and finds out
// whether the log still has them. A log can lose them: when a backup or a copy is put in place while the process runs, or when the power fails and records
// were not synced.
//
// A broker cannot lose anything without ending all its connections. So every new connection is checked before anything else is sent
// over it, by the log's leader epochs (KIP-320). Nothing that depends on a record which is lost can then reach the log.
type acknowledged struct {
	log *slog.Logger

	mu     sync.Mutex // protects the fields below
	ends   map[partition]acknowledgedEnd
	epoch  int32         // the highest leader epoch that a check has found; -1 if there was none
	losses []loss        // what was lost, in the order in which that was found
	found  atomic.Int64  // the length of losses, for count
	lost   chan struct{} // closed when something is found to be lost; then there is another
}

// acknowledgedEnd is the offset after the newest record of a partition that was acknowledged or read, and a leader epoch that is not earlier
// than that of the record; -1 if it is not known.
type acknowledgedEnd struct {
	offset int64
	epoch  int32
}

// loss has the offsets from which on the log has lost what it had acknowledged, by partition.
type loss map[partition]int64

// checkTimeout bounds the check of a connection.
const checkTimeout = 5 * time.Second

func newAcknowledged(log *slog.Logger) *acknowledged {
	return &acknowledged{log: log, ends: make(map[partition]acknowledgedEnd), epoch: -1, lost: make(chan struct{})}
}

// add notes that the record at an offset was acknowledged. leader returns the partition's leader epoch as the client knows it; it is
// called for the first record of a partition. It returns the leader epoch of the partition as the last check, or leader, has it.
func (a *acknowledged) add(p partition, offset int64, leader func() int32) (epoch int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, ok := a.ends[p]
	if !ok {
		end.epoch = max(leader(), a.epoch)
	}
	end.offset = max(end.offset, offset+1)
	a.ends[p] = end
	return end.epoch
}

// addRead notes that the record at an offset, which is of a leader epoch, was read.
func (a *acknowledged) addRead(p partition, offset int64, epoch int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, ok := a.ends[p]
	if !ok {
		end.epoch = epoch
	}
	a.ends[p] = acknowledgedEnd{max(end.offset, offset+1), max(end.epoch, epoch)}
}

// loss returns a channel that is closed when something is next found to be lost.
func (a *acknowledged) loss() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// count returns how often something was lost.
func (a *acknowledged) count() int { return int(a.found.Load()) }

// lostSince reports whether the record at an offset was lost that was acknowledged when count returned the number losses.
func (a *acknowledged) lostSince(losses int, p partition, offset int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.losses[losses:], func(l loss) bool {
		from, ok := l[p]
		return ok && offset >= from
	})
}

// state returns a copy of the ends, and how often something was lost.
func (a *acknowledged) state() (ends map[partition]acknowledgedEnd, losses int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.ends), len(a.losses)
}

// check finds out, over a connection over which nothing was sent, whether the log has what it has acknowledged in the partitions that
// the broker leads. If not, it closes the channel of loss before it returns. It returns an error if the broker does not answer.
func (a *acknowledged) check(ctx context.Context, conn net.Conn) error {
	ends, losses := a.state()
	if len(ends) == 0 {
		return nil
	}
	until := time.Now().Add(checkTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	epochs, err := askEpochs(conn, ends)
	if err != nil {
		return fmt.Errorf("check what the log has: %w", err)
	}
	has, err := askEnds(conn, ends, epochs)
	if err != nil {
		return fmt.Errorf("check what the log has: %w", err)
	}
	a.judge(ends, losses, epochs, has)
	return conn.SetDeadline(time.Time{})
}

// judge compares the ends of a check with what the log has. losses is the number of losses when the check began.
func (a *acknowledged) judge(ends map[partition]acknowledgedEnd, losses int, epochs map[partition]int32, has map[partition]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.losses) != losses {
		return // another connection has found it
	}
	lost := make(loss)
	for p, end := range ends {
		epoch, known := epochs[p]
		if !known {
			continue
		}
		a.epoch = max(a.epoch, epoch)
		if have, ok := has[p]; ok && have < end.offset {
			lost[p] = have
			a.log.Warn("the log has lost records that it had acknowledged or shown: was a backup or a copy put in place, or has the power failed?",
				"topic", p.topic, "partition", p.number, "had", end.offset, "has", have)
		}
		now := a.ends[p]
		now.epoch = epoch
		a.ends[p] = now
	}
	if len(lost) > 0 {
		clear(a.ends)
		a.losses = append(a.losses, lost)
		a.found.Store(int64(len(a.losses)))
		close(a.lost)
		a.lost = make(chan struct{})
	}
}

// askEpochs asks a broker for the present leader epochs of partitions. Those that it does not know, since their topics were deleted,
// are left out.
func askEpochs(conn net.Conn, ends map[partition]acknowledgedEnd) (map[partition]int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(7) // the first with leader epochs
	for topic := range byTopic(ends) {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(conn, req)
	if err != nil {
		return nil, err
	}
	epochs := make(map[partition]int32)
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 || t.Topic == nil {
			continue
		}
		for _, p := range t.Partitions {
			epochs[partition{*t.Topic, p.Partition}] = p.LeaderEpoch
		}
	}
	return epochs, nil
}

// askEnds asks a broker how far the log has the records of the leader epochs of ends, or of epochs, where that has an earlier one or none is
// known. It leaves out partitions that epochs does not have or that the broker does not lead.
func askEnds(conn net.Conn, ends map[partition]acknowledgedEnd, epochs map[partition]int32) (map[partition]int64, error) {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.SetVersion(2) // the lowest that Apache Kafka 4 takes
	for topic, numbers := range byTopic(ends) {
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = topic
		for _, n := range numbers {
			epoch, ok := epochs[partition{topic, n}]
			if !ok || epoch < 0 {
				continue // the broker knows no epochs
			}
			if known := ends[partition{topic, n}].epoch; known >= 0 {
				epoch = min(epoch, known)
			}
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = n, -1, epoch
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 {
			req.Topics = append(req.Topics, t)
		}
	}
	has := make(map[partition]int64)
	if len(req.Topics) == 0 {
		return has, nil
	}
	resp, err := ask(conn, req)
	if err != nil {
		return nil, err
	}
	var removed []partition
	for _, t := range resp.(*kmsg.OffsetForLeaderEpochResponse).Topics {
		for _, p := range t.Partitions {
			switch {
			case p.ErrorCode != 0:
			case p.EndOffset < 0:
				removed = append(removed, partition{t.Topic, p.Partition})
			default:
				has[partition{t.Topic, p.Partition}] = p.EndOffset
			}
		}
	}
	return has, addStarts(conn, has, removed)
}

// addStarts adds, for partitions of which the log has no records of an epoch, where they start: retention may have removed what was
// below.
func addStarts(conn net.Conn, has map[partition]int64, partitions []partition) error {
	if len(partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(4)
	for _, p := range partitions {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = p.topic
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = p.number, -1, -2
		t.Partitions = append(t.Partitions, rp)
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(conn, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				has[partition{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return nil
}

// byTopic returns the numbers of the partitions, by topic.
func byTopic(ends map[partition]acknowledgedEnd) map[string][]int32 {
	topics := make(map[string][]int32)
	for p := range ends {
		topics[p.topic] = append(topics[p.topic], p.number)
	}
	return topics
}
