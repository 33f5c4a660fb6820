// Kafkago tries segmentio's kafka-go on a broker: see package suite.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"tidings.dev/conformance/clients/suite"
)

func main() { suite.Main("github.com/segmentio/kafka-go", open, member) }

// client is kafka-go as the cases use it.
type client struct {
	suite.Lacks
	address string
	*kafka.Client
}

func open(address string) (suite.Client, error) {
	return client{address: address, Client: &kafka.Client{Addr: kafka.TCP(address), Transport: &kafka.Transport{MetadataTTL: 100 * time.Millisecond}}}, nil
}

func (c client) Close() { c.Transport.(*kafka.Transport).CloseIdleConnections() }

func (c client) Topics(ctx context.Context) (map[string]int, error) {
	answer, err := c.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	partitions := map[string]int{}
	for _, topic := range answer.Topics {
		partitions[topic.Name] = len(topic.Partitions)
	}
	return partitions, nil
}

func (c client) CreateTopic(ctx context.Context, topic string, partitions int) error {
	answer, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err != nil {
		return err
	}
	if answer.Errors[topic] != nil {
		return answer.Errors[topic]
	}
	for { // Apache Kafka's brokers learn of it later, and kafka-go's readers do not wait
		topics, err := c.Topics(ctx)
		if err != nil || topics[topic] == partitions {
			return err
		}
	}
}

func (c client) Grow(ctx context.Context, topic string, partitions int) error {
	answer, err := c.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(partitions)}}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (c client) DeleteTopic(ctx context.Context, topic string) error {
	answer, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (c client) SetConfig(ctx context.Context, topic, name, value string) error {
	answer, err := c.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (c client) Config(ctx context.Context, topic, name string) (string, error) {
	answer, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name},
	}}})
	if err != nil {
		return "", err
	}
	if r := answer.Resources[0]; r.Error != nil || len(r.ConfigEntries) != 1 {
		return "", r.Error
	}
	return answer.Resources[0].ConfigEntries[0].ConfigValue, nil
}

func (c client) Groups(ctx context.Context) (names []string, err error) {
	answer, err := c.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	for _, group := range answer.Groups {
		names = append(names, group.GroupID)
	}
	return names, answer.Error
}

func (c client) GroupState(ctx context.Context, group string) (string, error) {
	answer, err := c.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", err
	}
	return answer.Groups[0].GroupState, answer.Groups[0].Error
}

func (c client) DeleteGroup(ctx context.Context, group string) error {
	answer, err := c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return answer.Errors[group]
}

func (c client) Committed(ctx context.Context, group, topic string) (int64, error) {
	offsets, err := c.ConsumerOffsets(ctx, kafka.TopicAndGroup{Topic: topic, GroupId: group})
	return offsets[0], err
}

func (c client) CreateACL(ctx context.Context, topic string) error {
	answer, err := c.CreateACLs(ctx, &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ResourcePatternType: kafka.PatternTypeLiteral,
		Principal: "User:alice", Host: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow,
	}}})
	if err != nil {
		return err
	}
	return errors.Join(answer.Errors...)
}

func (c client) ACLs(ctx context.Context, topic string) (n int, err error) {
	answer, err := c.DescribeACLs(ctx, &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{
		ResourceTypeFilter: kafka.ResourceTypeTopic, ResourceNameFilter: topic, ResourcePatternTypeFilter: kafka.PatternTypeLiteral,
		PrincipalFilter: "User:alice", HostFilter: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow,
	}})
	if err != nil {
		return 0, err
	}
	for _, resource := range answer.Resources {
		n += len(resource.ACLs)
	}
	return n, answer.Error
}

func (c client) DeleteACLs(ctx context.Context, topic string) error {
	answer, err := c.Client.DeleteACLs(ctx, &kafka.DeleteACLsRequest{Filters: []kafka.DeleteACLsFilter{{
		ResourceTypeFilter: kafka.ResourceTypeTopic, ResourceNameFilter: topic, ResourcePatternTypeFilter: kafka.PatternTypeLiteral,
		PrincipalFilter: "User:alice", HostFilter: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow,
	}}})
	if err != nil {
		return err
	}
	return answer.Results[0].Error
}

var codecs = map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func (c client) Write(ctx context.Context, topic string, how suite.Write, records ...suite.Record) error {
	if how.Idempotent {
		return errors.ErrUnsupported
	}
	w := &kafka.Writer{Addr: kafka.TCP(c.address), Topic: topic, Compression: codecs[how.Codec], RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: c.Transport}
	defer w.Close()
	var messages []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: r.Time}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, m)
	}
	return w.WriteMessages(ctx, messages...)
}

// reader is one consumer.
type reader struct {
	*kafka.Reader
	last kafka.Message
}

func (c client) Open(ctx context.Context, from suite.Read) (suite.Reader, error) {
	if from.Pattern != "" {
		return nil, errors.ErrUnsupported
	}
	conf := kafka.ReaderConfig{Brokers: []string{c.address}, Topic: from.Topic, GroupID: from.Group, StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond}
	if from.Committed {
		conf.IsolationLevel = kafka.ReadCommitted
	}
	r := &reader{Reader: kafka.NewReader(conf)}
	if !from.From.IsZero() {
		return r, r.SetOffsetAt(ctx, from.From)
	}
	return r, nil
}

func (r *reader) Read(ctx context.Context, n int) (records []suite.Record, err error) {
	for len(records) < n {
		if r.last, err = r.FetchMessage(ctx); err != nil {
			return nil, fmt.Errorf("%d records of %d: %w", len(records), n, err)
		}
		out := suite.Record{Topic: r.last.Topic, Key: r.last.Key, Value: r.last.Value, Time: r.last.Time, Offset: r.last.Offset}
		for _, h := range r.last.Headers {
			out.Headers = append(out.Headers, suite.Header{Name: h.Key, Value: h.Value})
		}
		records = append(records, out)
	}
	return records, nil
}

func (r *reader) Commit(ctx context.Context) error { return r.CommitMessages(ctx, r.last) }

// member reads in a group until ctx is done. kafka.Reader does not tell what it is assigned; its ConsumerGroup does.
func member(ctx context.Context, m suite.Member) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: m.Group, Brokers: []string{m.Address}, Topics: []string{m.Topic}, StartOffset: kafka.FirstOffset,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond, RebalanceTimeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil {
		generation, err := group.Next(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		var mine []int32
		for _, p := range generation.Assignments[m.Topic] {
			mine = append(mine, int32(p.ID))
			generation.Start(func(ctx context.Context) { follow(ctx, m, generation, p) })
		}
		suite.Assigned(mine)
	}
	return nil
}

// follow reads a partition while the generation lasts, and commits.
func follow(ctx context.Context, m suite.Member, generation *kafka.Generation, p kafka.PartitionAssignment) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{m.Address}, Topic: m.Topic, Partition: p.ID, MaxWait: 500 * time.Millisecond})
	defer r.Close()
	_ = r.SetOffset(p.Offset)
	for {
		read, err := r.ReadMessage(ctx)
		if err != nil {
			return // the generation has ended
		}
		suite.Got(int32(read.Partition), read.Offset)
		_ = generation.CommitOffsets(map[string]map[int]int64{m.Topic: {p.ID: read.Offset + 1}})
	}
}
