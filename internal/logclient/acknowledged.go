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

	mu      sync.Mutex // protects the fields below
	ends    map[partition]acknowledgedEnd
	epoch   int32 // the highest leader epoch that a check has found; -1 if there was none
	present map[partition]presentEpoch
	losses  []loss        // what was lost, in the order in which that was found
	found   atomic.Int64  // the length of losses, for count
	lost    chan struct{} // closed when something is found to be lost; then there is another
}

// acknowledgedEnd is the offset after the newest record of a partition that was acknowledged or read, and a leader epoch that is not earlier
// than that of the record; -1 if it is not known.
type acknowledgedEnd struct {
	offset int64
	epoch  int32
	starts []epochStart // in order of epochs and of offsets
}

// presentEpoch is a leader epoch that a check has found. Records that are sent after since have it, or a later one.
type presentEpoch struct {
	epoch int32
	since time.Time
}

// epochStart is the offset of a record whose leader epoch is not earlier than epoch: the first one that was noted. A log that has no such
// epoch has lost it, and what came after it.
type epochStart struct {
	epoch  int32
	offset int64
}

// maxEpochStarts is how many epochs are remembered of a partition.
const maxEpochStarts = 16

// note notes a record, whose leader epoch is not earlier than epoch; -1 if it is not known.
func (e *acknowledgedEnd) note(offset int64, epoch int32) {
	e.offset = max(e.offset, offset+1)
	e.epoch = max(e.epoch, epoch)
	last := len(e.starts) - 1
	if epoch < 0 || last >= 0 && (epoch <= e.starts[last].epoch || offset < e.starts[last].offset) {
		return
	}
	if len(e.starts) == maxEpochStarts {
		e.starts = e.starts[1:]
	}
	e.starts = append(e.starts, epochStart{epoch, offset})
}

// lostFrom returns the offset from which on the log has lost what was noted, given the answer of its broker about the epoch; ok is false if
// it has lost nothing.
func (e *acknowledgedEnd) lostFrom(has EpochEnd) (offset int64, ok bool) {
	offset, ok = has.Offset, has.Offset < e.offset
	if has.Epoch < 0 {
		return offset, ok // the log has nothing of it, perhaps because of its retention
	}
	for _, s := range e.starts { // the log went another way if it has none of the epochs up to the one that was asked about
		if s.epoch > has.Epoch {
			return min(offset, s.offset), true
		}
	}
	return offset, ok
}

// loss has the offsets from which on the log has lost what it had acknowledged, by partition.
type loss map[partition]int64

// checkTimeout bounds the check of a connection.
const checkTimeout = 5 * time.Second

func newAcknowledged(log *slog.Logger) *acknowledged {
	return &acknowledged{log: log, ends: make(map[partition]acknowledgedEnd), epoch: -1, present: make(map[partition]presentEpoch), lost: make(chan struct{})}
}

// add notes that the record at an offset, which was sent after begun, was acknowledged. leader is the partition's leader epoch as the client
// knows it, which may be one from before a restart of the broker; -1 if it knows none. add returns the leader epoch of the partition as the last check, or
// the client, has it.
func (a *acknowledged) add(p partition, offset int64, begun time.Time, leader int32) (epoch int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, ok := a.ends[p]
	if !ok {
		end.epoch = a.epoch
	}
	if present, ok := a.present[p]; ok && present.since.Before(begun) {
		leader = max(leader, present.epoch)
	}
	end.note(offset, leader)
	a.ends[p] = end
	return end.epoch
}

// addRead notes that the record at an offset, which is of a leader epoch, was read.
func (a *acknowledged) addRead(p partition, offset int64, epoch int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, ok := a.ends[p]
	if !ok {
		end.epoch = -1
	}
	end.note(offset, epoch)
	a.ends[p] = end
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
//
// It also returns the present ids of the topics of these partitions and of other ones, as far as they exist: a log that was put in place may have
// another topic under a name.
func (a *acknowledged) check(ctx context.Context, conn net.Conn, others []string) (ids map[string][16]byte, err error) {
	ends, losses := a.state()
	if len(ends)+len(others) == 0 {
		return nil, nil
	}
	until := time.Now().Add(checkTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if err := conn.SetDeadline(until); err != nil {
		return nil, err
	}
	epochs, ids, err := askTopics(conn, slices.AppendSeq(others, maps.Keys(byTopic(ends))))
	if err != nil {
		return nil, fmt.Errorf("check what the log has: %w", err)
	}
	has, err := askEnds(conn, ends, epochs)
	if err != nil {
		return nil, fmt.Errorf("check what the log has: %w", err)
	}
	a.judge(ends, losses, epochs, has)
	return ids, conn.SetDeadline(time.Time{})
}

// judge compares the ends of a check with what the log has. losses is the number of losses when the check began.
func (a *acknowledged) judge(ends map[partition]acknowledgedEnd, losses int, epochs map[partition]int32, has map[partition]EpochEnd) {
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
		if have, ok := has[p]; ok {
			if from, isLost := end.lostFrom(have); isLost {
				lost[p] = from
				a.log.Warn("the log has lost records that it had acknowledged or shown: was a backup or a copy put in place, or has the power failed?",
					"topic", p.topic, "partition", p.number, "had", end.offset, "has", from)
			}
		}
		now := a.ends[p]
		now.epoch = epoch
		a.ends[p] = now
	}
	for p, epoch := range epochs {
		if present, ok := a.present[p]; !ok || present.epoch != epoch {
			a.present[p] = presentEpoch{epoch, time.Now()}
		}
	}
	if len(lost) > 0 {
		clear(a.ends)
		a.losses = append(a.losses, lost)
		a.found.Store(int64(len(a.losses)))
		close(a.lost)
		a.lost = make(chan struct{})
	}
}

// askTopics asks a broker for the present leader epochs of the partitions of topics, and for the ids of the topics. Those that it does not know,
// since they were deleted, are left out. A topic may be named more than once.
func askTopics(conn net.Conn, names []string) (epochs map[partition]int32, ids map[string][16]byte, err error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(10) // the first with ids
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(conn, req)
	if err != nil {
		return nil, nil, err
	}
	epochs, ids = make(map[partition]int32), make(map[string][16]byte)
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 || t.Topic == nil {
			continue
		}
		ids[*t.Topic] = t.TopicID
		for _, p := range t.Partitions {
			epochs[partition{*t.Topic, p.Partition}] = p.LeaderEpoch
		}
	}
	return epochs, ids, nil
}

// askEnds asks a broker where the leader epochs of ends end in the log, or those of epochs, where that has an earlier one or none is
// known. It leaves out partitions that epochs does not have or that the broker does not lead.
func askEnds(conn net.Conn, ends map[partition]acknowledgedEnd, epochs map[partition]int32) (map[partition]EpochEnd, error) {
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
	has := make(map[partition]EpochEnd)
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
				has[partition{t.Topic, p.Partition}] = EpochEnd{p.LeaderEpoch, p.EndOffset}
			}
		}
	}
	return has, addStarts(conn, has, removed)
}

// addStarts adds, for partitions of which the log has no records of an epoch, where they start: retention may have removed what was
// below.
func addStarts(conn net.Conn, has map[partition]EpochEnd, partitions []partition) error {
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
				has[partition{t.Topic, p.Partition}] = EpochEnd{-1, p.Offset}
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
