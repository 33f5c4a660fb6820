// Sarama tries IBM's sarama on a broker: see package suite. The flag -version sets the version of Kafka that sarama is
// told to speak, on which the versions of its requests depend.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"

	"tidings.dev/conformance/clients/suite"
)

var version = flag.String("version", sarama.MaxVersion.String(), "version of Kafka that is spoken")

func main() { suite.Main("github.com/IBM/sarama", open, member) }

// client is sarama as the cases use it.
type client struct {
	address string
	sarama.ClusterAdmin
}

func open(address string) (suite.Client, error) {
	c, err := config()
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdmin([]string{address}, c)
	return client{address, admin}, err
}

// config returns the configuration that all have.
func config() (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	var err error
	c.Version, err = sarama.ParseKafkaVersion(*version)
	return c, err
}

func (c client) Close() { c.ClusterAdmin.Close() }

func (c client) Topics(context.Context) (map[string]int, error) {
	listed, err := c.ListTopics()
	partitions := map[string]int{}
	for name, topic := range listed {
		partitions[name] = int(topic.NumPartitions)
	}
	return partitions, err
}

func (c client) CreateTopic(_ context.Context, topic string, partitions int) error {
	if err := c.ClusterAdmin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false); err != nil {
		return err
	}
	for { // Apache Kafka's broker may learn of it late
		described, err := c.DescribeTopics([]string{topic})
		if err != nil || described[0].Err == sarama.ErrNoError {
			return err
		}
	}
}

func (c client) Grow(_ context.Context, topic string, partitions int) error {
	return c.CreatePartitions(topic, int32(partitions), nil, false)
}

func (c client) DeleteTopic(_ context.Context, topic string) error {
	return c.ClusterAdmin.DeleteTopic(topic)
}

func (c client) SetConfig(_ context.Context, topic, name, value string) error {
	return c.AlterConfig(sarama.TopicResource, topic, map[string]*string{name: &value}, false)
}

func (c client) Config(_ context.Context, topic, name string) (string, error) {
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name}}
	described, err := c.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return "", err
	}
	if r := described[0]; r.ErrorCode != sarama.ErrNoError || len(r.Configs) != 1 {
		return "", fmt.Errorf("%w: %d settings", r.ErrorCode, len(r.Configs))
	}
	return described[0].Configs[0].Value, nil
}

func (c client) DeleteRecords(_ context.Context, topic string, before int64) error {
	return c.ClusterAdmin.DeleteRecords(topic, map[int32]int64{0: before})
}

func (c client) Groups(context.Context) (names []string, err error) {
	groups, err := c.ListConsumerGroups()
	for name := range groups {
		names = append(names, name)
	}
	return names, err
}

func (c client) GroupState(_ context.Context, group string) (string, error) {
	described, err := c.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", err
	}
	return described[0].State, nil
}

func (c client) DeleteGroup(_ context.Context, group string) error {
	return c.DeleteConsumerGroup(group)
}

func (c client) Committed(_ context.Context, group, topic string) (int64, error) {
	offsets, err := c.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
	if err != nil {
		return 0, err
	}
	return offsets.GetBlock(topic, 0).Offset, nil
}

func (c client) CreateACL(_ context.Context, topic string) error {
	return c.CreateACLs([]*sarama.ResourceAcls{{
		Resource: sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: topic, ResourcePatternType: sarama.AclPatternLiteral},
		Acls:     []*sarama.Acl{{Principal: "User:alice", Host: "*", Operation: sarama.AclOperationRead, PermissionType: sarama.AclPermissionAllow}},
	}})
}

// onTopic finds all ACLs of a topic.
func onTopic(topic string) sarama.AclFilter {
	return sarama.AclFilter{
		ResourceType: sarama.AclResourceTopic, ResourceName: &topic, ResourcePatternTypeFilter: sarama.AclPatternLiteral,
		Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
	}
}

func (c client) ACLs(_ context.Context, topic string) (n int, err error) {
	listed, err := c.ListAcls(onTopic(topic))
	for _, resource := range listed {
		n += len(resource.Acls)
	}
	return n, err
}

func (c client) DeleteACLs(_ context.Context, topic string) error {
	_, err := c.DeleteACL(onTopic(topic), false)
	return err
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// message returns a record of partition 0.
func message(topic string, r suite.Record) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: topic, Timestamp: r.Time}
	if r.Key != nil { // an Encoder of nil is not null
		m.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
	}
	return m
}

func (c client) Write(_ context.Context, topic string, how suite.Write, records ...suite.Record) error {
	conf, err := config()
	if err != nil {
		return err
	}
	conf.Producer.Compression = codecs[how.Codec]
	if how.Idempotent {
		conf.Producer.Idempotent = true
		conf.Net.MaxOpenRequests = 1
	}
	p, err := sarama.NewSyncProducer([]string{c.address}, conf)
	if err != nil {
		return err
	}
	defer p.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		messages = append(messages, message(topic, r))
	}
	return p.SendMessages(messages)
}

func (c client) Transaction(_ context.Context, topic, id string, commit bool, r suite.Record) error {
	conf, err := config()
	if err != nil {
		return err
	}
	conf.Producer.Idempotent = true
	conf.Producer.Transaction.ID = id
	conf.Net.MaxOpenRequests = 1
	p, err := sarama.NewSyncProducer([]string{c.address}, conf)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.BeginTxn(); err != nil {
		return err
	}
	if _, _, err := p.SendMessage(message(topic, r)); err != nil {
		return err
	}
	if commit {
		return p.CommitTxn()
	}
	return p.AbortTxn()
}

// reader reads a partition or, with a session, in a group.
type reader struct {
	messages <-chan *sarama.ConsumerMessage
	close    func() error

	session chan sarama.ConsumerGroupSession // holds the group's latest
	last    *sarama.ConsumerMessage
}

func (c client) Open(_ context.Context, from suite.Read) (suite.Reader, error) {
	if from.Pattern != "" {
		return nil, errors.ErrUnsupported
	}
	conf, err := config()
	if err != nil {
		return nil, err
	}
	if from.Committed {
		conf.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	if from.Group != "" {
		return openGroup(c.address, from, conf)
	}
	cl, err := sarama.NewClient([]string{c.address}, conf)
	if err != nil {
		return nil, err
	}
	start := sarama.OffsetOldest
	if !from.From.IsZero() {
		if start, err = cl.GetOffset(from.Topic, 0, from.From.UnixMilli()); err != nil {
			return nil, err
		}
	}
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return nil, err
	}
	partition, err := consumer.ConsumePartition(from.Topic, 0, start)
	if err != nil {
		return nil, err
	}
	return &reader{messages: partition.Messages(), close: func() error {
		return errors.Join(partition.Close(), consumer.Close(), cl.Close())
	}}, nil
}

func openGroup(address string, from suite.Read, conf *sarama.Config) (*reader, error) {
	group, err := sarama.NewConsumerGroup([]string{address}, from.Group, conf)
	if err != nil {
		return nil, err
	}
	messages := make(chan *sarama.ConsumerMessage)
	r := &reader{messages: messages, session: make(chan sarama.ConsumerGroupSession, 1)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{from.Topic}, handler{r, messages}); err != nil && ctx.Err() == nil {
				log.Print(err)
			}
		}
	}()
	r.close = func() error {
		stop()
		<-ended
		return group.Close()
	}
	return r, nil
}

// handler passes on what a group reads.
type handler struct {
	r        *reader
	messages chan<- *sarama.ConsumerMessage
}

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	h.r.session <- s
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error {
	<-h.r.session
	return nil
}

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		select {
		case h.messages <- m:
		case <-s.Context().Done():
			return nil
		}
	}
	return nil
}

func (r *reader) Read(ctx context.Context, n int) (records []suite.Record, err error) {
	for len(records) < n {
		select {
		case r.last = <-r.messages:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d records of %d: %w", len(records), n, ctx.Err())
		}
		out := suite.Record{Topic: r.last.Topic, Key: r.last.Key, Value: r.last.Value, Time: r.last.Timestamp, Offset: r.last.Offset}
		for _, h := range r.last.Headers {
			out.Headers = append(out.Headers, suite.Header{Name: string(h.Key), Value: h.Value})
		}
		records = append(records, out)
	}
	return records, nil
}

func (r *reader) Commit(context.Context) error {
	s := <-r.session
	defer func() { r.session <- s }()
	s.MarkMessage(r.last, "")
	s.Commit()
	return nil
}

func (r *reader) Close() error { return r.close() }

// member reads in a group until ctx is done.
func member(ctx context.Context, m suite.Member) error {
	conf, err := config()
	if err != nil {
		return err
	}
	conf.Consumer.Group.Session.Timeout = 6 * time.Second
	conf.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	conf.Consumer.Group.InstanceId = m.Instance
	conf.Consumer.Offsets.AutoCommit.Enable = true
	group, err := sarama.NewConsumerGroup([]string{m.Address}, m.Group, conf)
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{m.Topic}, teller{m.Topic}); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return nil
}

// teller is the handler of a group of sarama. It reports to the test which partitions the member has, and what it reads.
type teller struct{ topic string }

func (t teller) Setup(s sarama.ConsumerGroupSession) error {
	suite.Assigned(s.Claims()[t.topic])
	return nil
}

func (t teller) Cleanup(sarama.ConsumerGroupSession) error {
	suite.Assigned(nil)
	return nil
}

func (t teller) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		suite.Got(m.Partition, m.Offset)
		s.MarkMessage(m, "")
	}
	return nil
}
