package suite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Record is what a client writes and reads. Nil keys and values are null.
type Record struct {
	Topic      string // of a record that was read
	Key, Value []byte
	Headers    []Header
	Time       time.Time // zero for now
	Offset     int64     // of a record that was read
}

// Header is a header of a record. A nil value is null.
type Header struct {
	Name  string
	Value []byte
}

// Write is how records are written. All go to partition 0.
type Write struct {
	Codec      string // none, gzip, snappy, lz4 or zstd; empty is none
	Idempotent bool
}

// Read is where records are read from: a topic, or the topics that match a pattern.
type Read struct {
	Topic, Pattern string
	Group          string    // empty for none, and then partition 0 of the topic
	From           time.Time // zero for the beginning
	Committed      bool      // read committed
}

// Reader reads records.
type Reader interface {
	Read(ctx context.Context, n int) ([]Record, error) // exactly n
	Commit(ctx context.Context) error                  // what Read has returned
	Close() error                                      // leaves the group
}

// Client is what the cases need of a client. A method of which the client has nothing returns [errors.ErrUnsupported].
type Client interface {
	Topics(ctx context.Context) (partitions map[string]int, err error)
	CreateTopic(ctx context.Context, topic string, partitions int) error
	Grow(ctx context.Context, topic string, partitions int) error
	DeleteTopic(ctx context.Context, topic string) error
	SetConfig(ctx context.Context, topic, name, value string) error
	Config(ctx context.Context, topic, name string) (string, error)
	DeleteRecords(ctx context.Context, topic string, before int64) error // of partition 0
	Groups(ctx context.Context) ([]string, error)
	GroupState(ctx context.Context, group string) (string, error)
	DeleteGroup(ctx context.Context, group string) error
	Committed(ctx context.Context, group, topic string) (int64, error) // of partition 0
	CreateACL(ctx context.Context, topic string) error                 // User:alice may read it from everywhere
	ACLs(ctx context.Context, topic string) (int, error)
	DeleteACLs(ctx context.Context, topic string) error
	Write(ctx context.Context, topic string, how Write, records ...Record) error
	Transaction(ctx context.Context, topic, id string, commit bool, r Record) error
	Open(ctx context.Context, from Read) (Reader, error)
	Close()
}

// many is the number of records of a case that wants more than a few.
const many = 100

// record returns record i of such a case.
func record(i int) Record {
	return Record{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "%-100d", i)}
}

// records returns the first n of them.
func records(n int) (all []Record) {
	for i := range n {
		all = append(all, record(i))
	}
	return all
}

// test is one case on one broker. topic is the topic's, and the group's, that no other case uses.
type test struct {
	Client
	topic string
}

// cases are all that can be asked of a client's program, by name. clientCases (matrix_test.go) says what each shows.
var cases = []struct {
	name string
	run  func(ctx context.Context, t test) error
}{
	{"list-topics", listTopics},
	{"codec-none", written(Write{Codec: "none"})},
	{"codec-gzip", written(Write{Codec: "gzip"})},
	{"codec-snappy", written(Write{Codec: "snappy"})},
	{"codec-lz4", written(Write{Codec: "lz4"})},
	{"codec-zstd", written(Write{Codec: "zstd"})},
	{"nulls", nulls},
	{"headers", headers},
	{"null-header", nullHeader},
	{"commit-resume", commitResume},
	{"seek-by-time", seekByTime},
	{"pattern", pattern},
	{"admin-topics", adminTopics},
	{"admin-configs", adminConfigs},
	{"admin-groups", adminGroups},
	{"delete-group", deleteGroup},
	{"delete-records", deleteRecords},
	{"idempotent", written(Write{Idempotent: true})},
	{"transactions", transactions},
	{"acls", acls},
}

func listTopics(ctx context.Context, t test) error {
	if err := t.CreateTopic(ctx, t.topic, 3); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		topics, err := t.Topics(ctx)
		return topics[t.topic] == 3, err
	})
}

// written returns a case that writes many records and reads the same.
func written(how Write) func(context.Context, test) error {
	return func(ctx context.Context, t test) error { return t.comesBack(ctx, how, records(many)) }
}

// comesBack makes the topic, writes records and reads them.
func (t test) comesBack(ctx context.Context, how Write, want []Record) error {
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	if err := t.Write(ctx, t.topic, how, want...); err != nil {
		return err
	}
	got, err := t.read(ctx, Read{Topic: t.topic}, len(want))
	if err != nil {
		return err
	}
	for i, r := range got {
		r.Topic, r.Time, r.Offset = "", time.Time{}, 0
		if got, want := fmt.Sprintf("%#v", r), fmt.Sprintf("%#v", want[i]); got != want {
			return fmt.Errorf("record %d is %s, want %s", i, got, want)
		}
	}
	return nil
}

// read opens a reader and reads the first n records.
func (t test) read(ctx context.Context, from Read, n int) ([]Record, error) {
	r, err := t.Open(ctx, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Read(ctx, n)
}

func nulls(ctx context.Context, t test) error {
	return t.comesBack(ctx, Write{}, []Record{{Value: []byte("value")}, {Key: []byte("key")}, {Key: []byte{}, Value: []byte{}}})
}

func headers(ctx context.Context, t test) error {
	all := []Header{{"twice", []byte("1")}, {"twice", []byte("2")}, {"bytes", []byte{0xff, 0xfe, 0}}}
	return t.comesBack(ctx, Write{}, []Record{{Value: []byte("value"), Headers: all}})
}

func nullHeader(ctx context.Context, t test) error {
	return t.comesBack(ctx, Write{}, []Record{{Value: []byte("value"), Headers: []Header{{"null", nil}, {"empty", []byte{}}}}})
}

func commitResume(ctx context.Context, t test) error {
	if err := t.comesBack(ctx, Write{}, records(20)); err != nil {
		return err
	}
	group := Read{Topic: t.topic, Group: t.topic}
	first, err := t.Open(ctx, group)
	if err != nil {
		return err
	}
	if _, err = first.Read(ctx, 10); err == nil {
		err = first.Commit(ctx)
	}
	if err := first.Close(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if committed, err := t.Committed(ctx, t.topic, t.topic); err != nil || committed != 10 {
		return fmt.Errorf("committed is %d, want 10 (%w)", committed, err)
	}
	return t.startsAt(ctx, group, 10)
}

// startsAt checks the offset of the first record.
func (t test) startsAt(ctx context.Context, from Read, offset int64) error {
	got, err := t.read(ctx, from, 1)
	if err == nil && got[0].Offset != offset {
		err = fmt.Errorf("the first offset is %d, want %d", got[0].Offset, offset)
	}
	return err
}

func seekByTime(ctx context.Context, t test) error {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	all := records(20)
	for i := range all {
		all[i].Time = began.Add(time.Duration(i) * time.Second)
	}
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	if err := t.Write(ctx, t.topic, Write{}, all...); err != nil {
		return err
	}
	return t.startsAt(ctx, Read{Topic: t.topic, From: began.Add(9500 * time.Millisecond)}, 10)
}

func pattern(ctx context.Context, t test) error {
	reader, err := t.Open(ctx, Read{Pattern: "^" + t.topic + "-.*", Group: t.topic})
	if err != nil {
		return err
	}
	defer reader.Close()
	for _, topic := range []string{t.topic + "-before", t.topic + "-after"} { // the second is made while the group reads
		if err := t.CreateTopic(ctx, topic, 1); err != nil {
			return err
		}
		if err := t.Write(ctx, topic, Write{}, record(0)); err != nil {
			return err
		}
		if got, err := reader.Read(ctx, 1); err != nil || got[0].Topic != topic {
			return fmt.Errorf("read %v, want a record of %s (%w)", got, topic, err)
		}
		if err := reader.Commit(ctx); err != nil {
			return err
		}
	}
	return nil
}

func adminTopics(ctx context.Context, t test) error {
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	if err := t.Grow(ctx, t.topic, 4); err != nil {
		return err
	}
	has := func(partitions int) error {
		return until(ctx, func() (bool, error) {
			topics, err := t.Topics(ctx)
			return topics[t.topic] == partitions, err
		})
	}
	if err := has(4); err != nil {
		return err
	}
	if err := t.DeleteTopic(ctx, t.topic); err != nil {
		return err
	}
	return has(0)
}

// until waits until holds returns true: Apache Kafka's answers may be of a moment ago.
func until(ctx context.Context, holds func() (bool, error)) error {
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func adminConfigs(ctx context.Context, t test) error {
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	if err := t.SetConfig(ctx, t.topic, "retention.ms", "123456789"); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		value, err := t.Config(ctx, t.topic, "retention.ms")
		return value == "123456789", err
	})
}

func adminGroups(ctx context.Context, t test) error {
	if err := t.comesBack(ctx, Write{}, records(1)); err != nil {
		return err
	}
	if _, err := t.read(ctx, Read{Topic: t.topic, Group: t.topic}, 1); err != nil {
		return err
	}
	if groups, err := t.Groups(ctx); err != nil || !slices.Contains(groups, t.topic) {
		return fmt.Errorf("groups are %v, without %s (%w)", groups, t.topic, err)
	}
	if state, err := t.GroupState(ctx, t.topic); err != nil || state != "Empty" {
		return fmt.Errorf("state is %q, want Empty (%w)", state, err)
	}
	return nil
}

func deleteGroup(ctx context.Context, t test) error {
	if err := t.comesBack(ctx, Write{}, records(1)); err != nil {
		return err
	}
	if _, err := t.read(ctx, Read{Topic: t.topic, Group: t.topic}, 1); err != nil {
		return err
	}
	if err := t.DeleteGroup(ctx, t.topic); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		groups, err := t.Groups(ctx)
		return !slices.Contains(groups, t.topic), err
	})
}

func deleteRecords(ctx context.Context, t test) error {
	if err := t.comesBack(ctx, Write{}, records(10)); err != nil {
		return err
	}
	if err := t.DeleteRecords(ctx, t.topic, 7); err != nil {
		return err
	}
	return t.startsAt(ctx, Read{Topic: t.topic}, 7)
}

func transactions(ctx context.Context, t test) error {
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	for i, commit := range []bool{false, true} {
		if err := t.Transaction(ctx, t.topic, t.topic, commit, record(i)); err != nil {
			return err
		}
	}
	got, err := t.read(ctx, Read{Topic: t.topic, Committed: true}, 1)
	if err == nil && string(got[0].Key) != "1" {
		err = fmt.Errorf("record %s is read, want 1", got[0].Key)
	}
	return err
}

func acls(ctx context.Context, t test) error {
	if err := t.CreateTopic(ctx, t.topic, 1); err != nil {
		return err
	}
	if err := t.CreateACL(ctx, t.topic); err != nil {
		return err
	}
	has := func(want int) error {
		return until(ctx, func() (bool, error) {
			n, err := t.ACLs(ctx, t.topic)
			return n == want, err
		})
	}
	if err := has(1); err != nil {
		return err
	}
	if err := t.DeleteACLs(ctx, t.topic); err != nil {
		return err
	}
	return has(0)
}

// Dealt keeps what a member has, for clients that tell it in parts.
type Dealt map[int32]bool

// Add notes partitions that were assigned, and tells the test.
func (d Dealt) Add(partitions []int32) {
	for _, p := range partitions {
		d[p] = true
	}
	Assigned(slices.Sorted(maps.Keys(d)))
}

// Remove notes partitions that were revoked, and tells the test.
func (d Dealt) Remove(partitions []int32) {
	for _, p := range partitions {
		delete(d, p)
	}
	Assigned(slices.Sorted(maps.Keys(d)))
}
