// Franzgo tries franz-go on a broker: see package suite.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/conformance/clients/suite"
)

func main() { suite.Main("github.com/twmb/franz-go", open, member) }

// client is franz-go as the cases use it.
type client struct {
	address string
	adm     *kadm.Client
}

func open(address string) (suite.Client, error) {
	c := client{address: address}
	cl, err := c.new()
	c.adm = kadm.NewClient(cl)
	return c, err
}

// new returns a client that looks for new topics every second.
func (c client) new(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(c.address), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100*time.Millisecond))...)
}

func (c client) Close() { c.adm.Close() }

func (c client) Topics(ctx context.Context) (map[string]int, error) {
	all, err := c.adm.ListTopics(ctx)
	partitions := map[string]int{}
	for name, topic := range all {
		partitions[name] = len(topic.Partitions)
	}
	return partitions, err
}

func (c client) CreateTopic(ctx context.Context, topic string, partitions int) error {
	_, err := c.adm.CreateTopic(ctx, int32(partitions), 1, nil, topic)
	return err
}

func (c client) Grow(ctx context.Context, topic string, partitions int) error {
	grown, err := c.adm.UpdatePartitions(ctx, partitions, topic)
	return errors.Join(err, grown.Error())
}

func (c client) DeleteTopic(ctx context.Context, topic string) error {
	_, err := c.adm.DeleteTopic(ctx, topic)
	return err
}

func (c client) SetConfig(ctx context.Context, topic, name, value string) error {
	altered, err := c.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: name, Value: &value}}, topic)
	for _, a := range altered {
		err = errors.Join(err, a.Err)
	}
	return err
}

func (c client) Config(ctx context.Context, topic, name string) (string, error) {
	described, err := c.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	resource, err := described.On(topic, nil)
	for _, config := range resource.Configs {
		if config.Key == name {
			return config.MaybeValue(), err
		}
	}
	return "", err
}

func (c client) DeleteRecords(ctx context.Context, topic string, before int64) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: before})
	deleted, err := c.adm.DeleteRecords(ctx, offsets)
	return errors.Join(err, deleted.Error())
}

func (c client) Groups(ctx context.Context) ([]string, error) {
	listed, err := c.adm.ListGroups(ctx)
	return listed.Groups(), err
}

func (c client) GroupState(ctx context.Context, group string) (string, error) {
	described, err := c.adm.DescribeGroups(ctx, group)
	return described[group].State, err
}

func (c client) DeleteGroup(ctx context.Context, group string) error {
	_, err := c.adm.DeleteGroup(ctx, group)
	return err
}

func (c client) Committed(ctx context.Context, group, topic string) (int64, error) {
	offsets, err := c.adm.FetchOffsets(ctx, group)
	committed, _ := offsets.Lookup(topic, 0)
	return committed.At, err
}

// alice returns what the ACL of the case says, and what finds it.
func alice(topic string) *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:alice").AllowHosts("*").Operations(kadm.OpRead)
}

func (c client) CreateACL(ctx context.Context, topic string) error {
	created, err := c.adm.CreateACLs(ctx, alice(topic))
	for _, acl := range created {
		err = errors.Join(err, acl.Err)
	}
	return err
}

func (c client) ACLs(ctx context.Context, topic string) (n int, err error) {
	described, err := c.adm.DescribeACLs(ctx, alice(topic))
	for _, d := range described {
		n += len(d.Described)
	}
	return n, err
}

func (c client) DeleteACLs(ctx context.Context, topic string) error {
	_, err := c.adm.DeleteACLs(ctx, alice(topic))
	return err
}

var codecs = map[string]kgo.CompressionCodec{
	"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// record returns a record of partition 0.
func record(topic string, r suite.Record) *kgo.Record {
	out := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: r.Time}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
	}
	return out
}

func (c client) Write(ctx context.Context, topic string, how suite.Write, records ...suite.Record) error {
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codecs[how.Codec]), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if !how.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := c.new(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var out []*kgo.Record
	for _, r := range records {
		out = append(out, record(topic, r))
	}
	return cl.ProduceSync(ctx, out...).FirstErr()
}

func (c client) Transaction(ctx context.Context, topic, id string, commit bool, r suite.Record) error {
	cl, err := c.new(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, record(topic, r)).FirstErr(); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}

// reader is one consumer.
type reader struct {
	cl   *kgo.Client
	left []*kgo.Record // fetched, and not returned yet
	last *kgo.Record   // that Read has returned
}

func (c client) Open(_ context.Context, from suite.Read) (suite.Reader, error) {
	start := kgo.NewOffset().AtStart()
	if !from.From.IsZero() {
		start = kgo.NewOffset().AfterMilli(from.From.UnixMilli())
	}
	opts := []kgo.Opt{kgo.ConsumeResetOffset(start)}
	if from.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(from.Group), kgo.DisableAutoCommit())
	}
	if from.Committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if from.Pattern != "" {
		opts = append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics(from.Pattern))
	} else {
		opts = append(opts, kgo.ConsumeTopics(from.Topic))
	}
	cl, err := c.new(opts...)
	return &reader{cl: cl}, err
}

func (r *reader) Read(ctx context.Context, n int) (records []suite.Record, err error) {
	for len(r.left) < n {
		fetches := r.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d records of %d: %w", len(r.left), n, err)
		}
		r.left = append(r.left, fetches.Records()...)
	}
	for _, in := range r.left[:n] {
		out := suite.Record{Topic: in.Topic, Key: in.Key, Value: in.Value, Time: in.Timestamp, Offset: in.Offset}
		for _, h := range in.Headers {
			out.Headers = append(out.Headers, suite.Header{Name: h.Key, Value: h.Value})
		}
		records = append(records, out)
		r.last = in
	}
	r.left = r.left[n:]
	return records, nil
}

func (r *reader) Commit(ctx context.Context) error { return r.cl.CommitRecords(ctx, r.last) }

func (r *reader) Close() error {
	r.cl.Close()
	return nil
}

// member reads in a group until ctx is done.
func member(ctx context.Context, m suite.Member) error {
	mine := suite.Dealt{}
	add := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { mine.Add(partitions[m.Topic]) }
	remove := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		mine.Remove(partitions[m.Topic])
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(m.Address), kgo.ConsumerGroup(m.Group), kgo.ConsumeTopics(m.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(add), kgo.OnPartitionsRevoked(remove), kgo.OnPartitionsLost(remove),
	}
	if m.Instance != "" {
		opts = append(opts, kgo.InstanceID(m.Instance))
	}
	if m.Consumer {
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				fmt.Fprintln(os.Stderr, err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) { suite.Got(r.Partition, r.Offset) })
	}
	return nil
}
