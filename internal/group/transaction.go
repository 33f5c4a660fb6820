package group

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
)

// Producer is the producer of a transaction, with its epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// onTransactionalCommit handles a TxnOffsetCommit: it persists the offsets as undecided, and replies when that is durable.
// The coordinator of transactions has admitted it. As in Apache Kafka, a commit by no member is taken whoever is a
// member, and one of the present generation also while it is being completed.
func (c *Coordinator) onTransactionalCommit(now time.Time, ev TransactionalCommit) {
	refuse := func(err error) { c.reply(ev.Ticket, CommitResponse{Err: err}) }
	g := c.groups[ev.Group]
	if g == nil {
		if ev.Generation >= 0 {
			refuse(ErrIllegalGeneration)
			return
		}
		g = c.getOrCreate(now, ev.Group)
	}
	defer c.finishStep(now, g)
	if ev.Generation >= 0 || ev.Member != "" || ev.InstanceID != nil {
		m, err := g.findMember(ev.Member, ev.InstanceID)
		switch {
		case err != nil:
			refuse(err)
			return
		case ev.Generation != g.generation:
			refuse(ErrIllegalGeneration)
			return
		}
		m.extendSession(now)
	}
	answers, taken := c.acceptOffsets(now, &ev.CommitRequest)
	if len(taken) == 0 {
		c.reply(ev.Ticket, CommitResponse{Partitions: answers})
		return
	}
	c.persist(g, encodeUndecided(ev.Group, ev.Producer, taken), func(_ time.Time, err error) {
		if err != nil {
			c.reply(ev.Ticket, CommitResponse{Err: err})
			return
		}
		c.reply(ev.Ticket, CommitResponse{Partitions: answers})
	})
}

// Undecided calls each for every producer and group of which offsets are undecided. It is for recovery.
func (c *Coordinator) Undecided(each func(p Producer, group string)) {
	for id, g := range c.durable.groups {
		for p := range g.undecided {
			each(p, id)
		}
	}
}

// Unstable returns the partitions in which the offset of a group may change when an open transaction ends.
func (c *Coordinator) Unstable(group string) map[TopicPartition]bool {
	unstable := map[TopicPartition]bool{}
	if g := c.durable.groups[group]; g != nil {
		for _, offsets := range g.undecided {
			for tp := range offsets {
				unstable[tp] = true
			}
		}
	}
	return unstable
}

// addUndecided adds offsets that a transaction commits or drops when it ends.
func (im durableState) addUndecided(group string, p Producer, offsets map[TopicPartition]Committed) {
	g := im.getOrCreate(group)
	if g.undecided == nil {
		g.undecided = map[Producer]map[TopicPartition]Committed{}
	}
	of := g.undecided[p]
	if of == nil {
		of = map[TopicPartition]Committed{}
		g.undecided[p] = of
	}
	for tp, o := range offsets {
		if have, ok := of[tp]; ok {
			im.size.bytes -= sizeOfPosition(tp, have)
		}
		of[tp] = o
		im.size.bytes += sizeOfPosition(tp, o)
	}
}

// endTransaction commits or drops what a producer has undecided in a group. An offset that was committed after it stays.
func (im durableState) endTransaction(group string, p Producer, commit bool) {
	g := im.groups[group]
	if g == nil {
		return
	}
	for tp, o := range g.undecided[p] {
		im.size.bytes -= sizeOfPosition(tp, o)
		have, ok := g.offsets[tp]
		if !commit || ok && have.At.After(o.At) {
			continue
		}
		if ok {
			im.size.bytes -= sizeOfPosition(tp, have)
		}
		g.offsets[tp] = o
		im.size.bytes += sizeOfPosition(tp, o)
	}
	delete(g.undecided, p)
	im.removeIfEmpty(group)
}

// removeUndecided removes the undecided offsets of a group in the partitions for which gone returns true.
func (im durableState) removeUndecided(g *durableGroup, gone func(TopicPartition) bool) {
	for p, offsets := range g.undecided {
		for tp, o := range offsets {
			if gone(tp) {
				im.size.bytes -= sizeOfPosition(tp, o)
				delete(offsets, tp)
			}
		}
		if len(offsets) == 0 {
			delete(g.undecided, p)
		}
	}
}

func encodeUndecided(group string, p Producer, offsets map[TopicPartition]Committed) []byte {
	return appendOffsets(appendProducer(header(kindUndecided, group), p), offsets)
}

// encodeEnd encodes the end of a producer's transaction in groups.
func encodeEnd(p Producer, commit bool, groups []string) []byte {
	b := appendProducer([]byte{codecVersion, kindTransactionEnd}, p)
	if commit {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for _, g := range groups {
		b = appendString(b, g)
	}
	return b
}

func appendProducer(b []byte, p Producer) []byte {
	return binary.AppendVarint(binary.AppendVarint(b, p.ID), int64(p.Epoch))
}

func (d *recordDecoder) producer() Producer {
	return Producer{ID: d.VarintIn(0, math.MaxInt64), Epoch: int16(d.VarintIn(0, math.MaxInt16))}
}

// undecidedRecords returns the records of the undecided offsets of a group, for a snapshot, in order of the producers.
func (g *durableGroup) undecidedRecords(id string) (records [][]byte) {
	for _, p := range slices.SortedFunc(maps.Keys(g.undecided), compareProducers) {
		records = append(records, encodeUndecided(id, p, g.undecided[p]))
	}
	return records
}

func compareProducers(a, b Producer) int {
	switch {
	case a.ID != b.ID:
		return int(min(1, max(-1, a.ID-b.ID)))
	}
	return int(a.Epoch) - int(b.Epoch)
}
