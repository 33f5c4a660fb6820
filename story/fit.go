package story

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
)

// A log can go back: it may be restored from a backup or repaired, or it may lose its last records in a power cut if
// the durability of a topic allows that. Offsets that the index has read may then hold other records. The index
// notices this by comparing the log with its tail of each partition. The indexer then empties the index and builds it
// again.

// misfit is the error that says why the index does not fit the log.
type misfit struct{ why string }

func (m *misfit) Error() string { return "story: the index does not fit the log: " + m.why }

// returned returns a *misfit if one of the topics is marked in the index as deleted, or nil.
func (ix *Index) returned(topics []logclient.Topic) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for _, t := range topics {
		if n, ok := ix.topicByID[topicKey{t.Name, t.ID}]; ok && t.ID != [16]byte{} && ix.topicOf[n].gone {
			return &misfit{fmt.Sprintf("topic %s is there again, which had been deleted", t.Name)}
		}
	}
	return nil
}

// reading describes how far the index has read one partition. Its position is the offset of the next record to read.
type reading struct {
	position int64
	tail
}

// readings returns the reading of each partition of topics from which the index has read a record, by topic and
// partition. It leaves out topics that were deleted and created again since.
func (ix *Index) readings(topics []logclient.Topic) map[string]map[int32]reading {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	found := make(map[string]map[int32]reading)
	for _, t := range topics {
		n, ok := ix.topics[t.Name]
		if !ok || ix.topicOf[n].id != t.ID {
			continue
		}
		found[t.Name] = make(map[int32]reading)
		for i := range t.Partitions {
			p := partition{n, i}
			if at := ix.positions[p]; at > 0 && ix.tails[p] != nil {
				found[t.Name][i] = reading{at, *ix.tails[p]}
			}
		}
	}
	return found
}

// compare returns a *misfit if the index has read records of topics that the log does not have. Other errors come
// from the log.
func (f *follower) compare(ctx context.Context, topics []logclient.Topic) error {
	if err := f.ix.returned(topics); err != nil {
		return err
	}
	read := f.ix.readings(topics) // before asking for the ends, because the index may read on meanwhile
	last, before := make(logclient.Epochs), make(logclient.Epochs)
	var concerned []logclient.Topic
	for _, t := range topics {
		if len(read[t.Name]) > 0 {
			concerned = append(concerned, t)
			last[t.Name], before[t.Name] = make(map[int32]int32), make(map[int32]int32)
		}
		for p, r := range read[t.Name] {
			if r.epoch >= 0 {
				last[t.Name][p] = r.epoch
			}
			if r.before >= 0 {
				before[t.Name][p] = r.before
			}
		}
	}
	if len(concerned) == 0 {
		return nil
	}
	starts, err := f.lc.StartsOf(ctx, concerned)
	if err != nil {
		return err
	}
	ends, err := f.lc.EndsOf(ctx, concerned)
	if err != nil {
		return err
	}
	lastEnds, err := f.epochEnds(ctx, last)
	if err != nil {
		return err
	}
	beforeEnds, err := f.epochEnds(ctx, before)
	if err != nil {
		return err
	}
	for _, t := range concerned {
		for p, r := range read[t.Name] {
			l := logged{start: starts[t.Name][p], end: ends[t.Name][p]}
			if end, ok := lastEnds[t.Name][p]; ok {
				l.last = &end
			}
			if end, ok := beforeEnds[t.Name][p]; ok {
				l.before = &end
			}
			if why := r.misfit(l); why != "" {
				return &misfit{fmt.Sprintf("topic %s partition %d: %s", t.Name, p, why)}
			}
		}
	}
	return nil
}

// epochEnds calls logclient.Client.EpochEnds. It returns nil, nil if the brokers do not support leader epochs.
func (f *follower) epochEnds(ctx context.Context, epochs logclient.Epochs) (map[string]map[int32]logclient.EpochEnd, error) {
	for topic, partitions := range epochs {
		if len(partitions) == 0 {
			delete(epochs, topic)
		}
	}
	found, err := f.lc.EpochEnds(ctx, epochs)
	if errors.Is(err, kerr.UnsupportedVersion) {
		return nil, nil
	}
	return found, err
}

// logged describes a partition as the log has it. start is the first offset and end the offset after the last record.
// last and before are the ends of the leader epochs tail.epoch and tail.before, or nil if they are not known.
type logged struct {
	start, end   int64
	last, before *logclient.EpochEnd
}

// misfit returns why a log in state l cannot be the log that was read up to r, or "" if it may be that log. Equal
// epoch numbers are no proof: a restored log and its original may both have reached the same epoch.
func (r *reading) misfit(l logged) string {
	switch {
	case r.position > l.end:
		return fmt.Sprintf("the index has read to offset %d, and the log ends at %d", r.position, l.end)
	case l.start >= r.position: // retention has removed all records that were read
		return ""
	case l.last != nil && l.last.Epoch < 0:
		return fmt.Sprintf("the log knows nothing of leader epoch %d, in which the index has read offset %d", r.epoch, r.last)
	case l.last != nil && (l.last.Epoch < r.epoch || l.last.Offset < r.position):
		return fmt.Sprintf("the index has read to offset %d in leader epoch %d, which ends at %d", r.position, r.epoch, l.last.Offset)
	case l.before != nil && l.before.Epoch >= 0 && l.before.Offset > l.start && // otherwise retention has removed the epoch
		(l.before.Epoch < r.before || l.before.Offset < r.end || l.before.Offset > r.first):
		return fmt.Sprintf("leader epoch %d ends at offset %d, and the index has read it to %d, and %d from %d on", r.before, l.before.Offset, r.end, r.epoch, r.first)
	}
	return ""
}

// differs returns a *misfit if one of the records, which were just fetched, differs from the record that the index
// has read at the same offset. After a restart or a rediscovery, reading a partition begins with the last record that
// the index has read (readFrom), so that differs notices a changed log even if its leader epochs are the same.
func (ix *Index) differs(records []*kgo.Record) error {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for _, r := range records {
		p := partition{ix.topics[r.Topic], r.Partition}
		if t := ix.tails[p]; t != nil && t.last == r.Offset && hashOf(r) != t.sum {
			return &misfit{fmt.Sprintf("topic %s partition %d: at offset %d is another record", r.Topic, r.Partition, r.Offset)}
		}
	}
	return nil
}

// empty deletes everything that the index has read from the log.
func (ix *Index) empty() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return ix.failed
	}
	if err := ix.db.Update(emptyFile); err != nil {
		return err
	}
	return ix.reload()
}
