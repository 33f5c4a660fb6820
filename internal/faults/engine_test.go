package faults

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"tidings.dev/internal/batch"
	"tidings.dev/internal/engine"
	"tidings.dev/internal/group"
	"tidings.dev/internal/meta"
)

// engineLog calls an engine directly, without a protocol, and notes the answers in the ledger.
type engineLog struct {
	engine *engine.Engine
	book   *ledger
}

func (d engineLog) topics() (map[string]int32, error) {
	all := map[string]int32{}
	for _, t := range d.engine.Topics() {
		all[t.Name] = t.Partitions
	}
	return all, nil
}

func (d engineLog) partition(p topicPartition) (engine.Partition, error) {
	t, ok := d.engine.Topic(p.topic)
	if !ok {
		return engine.Partition{}, engine.ErrUnknownTopic
	}
	return engine.Partition{Topic: t.ID, Index: p.partition}, nil
}

func (d engineLog) read(p topicPartition, from int64) (got []record, start int64, err error) {
	id, err := d.partition(p)
	if err != nil {
		return nil, 0, err
	}
	for {
		listed, err := d.engine.OffsetFor(id, engine.Earliest)
		if err != nil {
			return nil, 0, err
		}
		got, err = d.readFrom(id, max(from, listed.Offset))
		if !errors.Is(err, engine.ErrOffsetOutOfRange) {
			return got, listed.Offset, err
		}
		// Retention was faster, or the log ends before from: then there is nothing, and the audit reports it.
		if end, err := d.engine.OffsetFor(id, engine.Latest); err != nil || end.Offset < from {
			return nil, listed.Offset, err
		}
	}
}

func (d engineLog) readFrom(id engine.Partition, next int64) (got []record, err error) {
	for {
		fetched, after, err := d.fetch(id, next)
		if err != nil || after == next {
			return got, err
		}
		got, next = append(got, fetched...), after
	}
}

// fetch reads some records from an offset on. after is where to go on: the same offset at the end of the log.
func (d engineLog) fetch(id engine.Partition, from int64) (got []record, after int64, err error) {
	f := d.engine.Fetch(context.Background(), engine.FetchRequest{MaxBytes: 1 << 20, Partitions: []engine.FetchPartition{
		{Partition: id, Offset: from, MaxBytes: 1 << 20, LeaderEpoch: -1}}}, nil)[0]
	if f.Err != nil {
		return nil, from, f.Err
	}
	after = from
	for _, run := range f.Records {
		for v, err := range batch.Split(run) {
			if err != nil {
				return got, after, err
			}
			if err := batch.Validate(v, math.MaxInt32); err != nil {
				return got, after, fmt.Errorf("served at %d: %w", v.BaseOffset(), err)
			}
			for r, err := range batch.Records(v, math.MaxInt32) {
				if err != nil {
					return got, after, err
				}
				if r.Offset >= from {
					got = append(got, record{r.Offset, string(r.Value)})
				}
			}
			after = v.NextOffset()
		}
	}
	return got, after, nil
}

func (d engineLog) committed(name string) (map[topicPartition]int64, error) {
	offsets, err := d.engine.FetchOffsets(name, nil)
	if err != nil && !errors.Is(err, group.ErrGroupNotFound) {
		return nil, err
	}
	all := map[topicPartition]int64{}
	for tp, c := range offsets {
		all[topicPartition{tp.Topic, tp.Partition}] = c.Offset
	}
	return all, nil
}

func (d engineLog) make(name string, partitions int32, configs map[string]string) error {
	_, err := d.engine.CreateTopic(context.Background(), meta.TopicSpec{Name: name, Partitions: partitions, Configs: configs}, false)
	if err == nil {
		d.book.topicMade(name, partitions)
	}
	return err
}

func (d engineLog) drop(name string) error {
	t, ok := d.engine.Topic(name)
	if !ok {
		return engine.ErrUnknownTopic
	}
	d.book.topicGoing(name)
	err := d.engine.DeleteTopic(context.Background(), t.ID)
	if err == nil {
		d.book.topicGone(name)
	}
	return err
}

func (d engineLog) producer() (int64, error) {
	id, _, err := d.engine.InitProducerID(context.Background(), -1, -1)
	if err == nil {
		d.book.producerMade(id)
	}
	return id, err
}

// send appends one record of a producer, whose name is its key; id ≥ 0 makes it idempotent, with as many records sent
// before as sequence is.
func (d engineLog) send(p topicPartition, who string, id int64, sequence int32, padding int) error {
	part, err := d.partition(p)
	if err != nil {
		return err
	}
	value := d.book.next(who)
	var b batch.Builder
	if id >= 0 {
		b.Producer(id, 0, sequence)
	}
	b.Add(time.Now().UnixMilli(), []byte(who), []byte(value), batch.Header{Key: "padding", Value: make([]byte, padding)})
	answer := make(chan engine.Appended, 1)
	d.engine.Append(part, b.Batch(), func(a engine.Appended) { answer <- a })
	a := <-answer
	if a.Err == nil {
		d.book.recordAcked(p, a.BaseOffset, value)
	}
	return a.Err
}

func (d engineLog) commit(name string, p topicPartition, offset int64) error {
	k := position{name, p}
	d.book.commitAsked(k, offset)
	tp := group.TopicPartition{Topic: p.topic, Partition: p.partition}
	err := d.engine.Commit(context.Background(), group.CommitRequest{Group: name, Generation: -1,
		Offsets: map[group.TopicPartition]group.Committed{tp: {Offset: offset, LeaderEpoch: -1}}})[tp]
	if err == nil {
		d.book.commitAcked(k, offset)
	}
	return err
}
