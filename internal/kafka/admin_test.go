package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTopicAdministrationInEveryVersion creates, enlarges, describes and deletes topics in every version of each API.
func TestTopicAdministrationInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	retention := "3600000"
	for v := lookupAPI(keyCreateTopics).min; v <= lookupAPI(keyCreateTopics).max; v++ {
		name := fmt.Sprintf("made-in-%d", v)
		create := kmsg.NewPtrCreateTopicsRequest()
		row := kmsg.NewCreateTopicsRequestTopic()
		row.Topic, row.NumPartitions, row.ReplicationFactor = name, 3, 1
		row.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: &retention}}
		create.Topics = []kmsg.CreateTopicsRequestTopic{row}

		create.ValidateOnly = true
		if got := roundTrip[*kmsg.CreateTopicsResponse](w, create, v).Topics[0]; got.ErrorCode != none {
			t.Fatalf("CreateTopics v%d, only looking: %+v", v, got)
		}
		if _, ok := h.engine.Topic(name); ok {
			t.Fatalf("v%d: validate_only made the topic", v)
		}
		create.ValidateOnly = false
		got := roundTrip[*kmsg.CreateTopicsResponse](w, create, v).Topics[0]
		if got.ErrorCode != none || v >= 5 && (got.NumPartitions != 3 || len(got.Configs) == 0) {
			t.Fatalf("CreateTopics v%d: %+v", v, got)
		}
		if topic, ok := h.engine.Topic(name); !ok || topic.Partitions != 3 || topic.Configs["retention.ms"] != retention ||
			v >= 7 && topic.ID != got.TopicID {
			t.Fatalf("CreateTopics v%d made %+v", v, topic)
		}
		if got := roundTrip[*kmsg.CreateTopicsResponse](w, create, v).Topics[0]; got.ErrorCode != topicAlreadyExists || got.ErrorMessage == nil {
			t.Fatalf("CreateTopics v%d twice: %+v", v, got)
		}
	}

	for v := range lookupAPI(keyCreatePartitions).max + 1 {
		grow := kmsg.NewPtrCreatePartitionsRequest()
		row := kmsg.NewCreatePartitionsRequestTopic()
		row.Topic, row.Count = "made-in-2", int32(4+v)
		less, gone := row, row
		less.Topic, less.Count, gone.Topic = "made-in-3", 2, "no"
		grow.Topics = []kmsg.CreatePartitionsRequestTopic{row, less, gone}
		got := roundTrip[*kmsg.CreatePartitionsResponse](w, grow, v).Topics
		if len(got) != 3 || got[0].ErrorCode != none || got[1].ErrorCode != invalidPartitions || got[2].ErrorCode != unknownTopicOrPartition {
			t.Errorf("CreatePartitions v%d: %+v", v, got)
		}
	}

	for v := lookupAPI(keyDescribeConfigs).min; v <= lookupAPI(keyDescribeConfigs).max; v++ {
		describe := kmsg.NewPtrDescribeConfigsRequest()
		describe.IncludeDocumentation, describe.IncludeSynonyms = true, true
		topic, broker, one, gone := kmsg.NewDescribeConfigsRequestResource(), kmsg.NewDescribeConfigsRequestResource(), kmsg.NewDescribeConfigsRequestResource(), kmsg.NewDescribeConfigsRequestResource()
		topic.ResourceType, topic.ResourceName = kmsg.ConfigResourceTypeTopic, "made-in-2"
		broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
		one.ResourceType, one.ResourceName, one.ConfigNames = kmsg.ConfigResourceTypeTopic, "made-in-3", []string{"retention.ms"}
		gone.ResourceType, gone.ResourceName = kmsg.ConfigResourceTypeTopic, "no"
		describe.Resources = []kmsg.DescribeConfigsRequestResource{topic, broker, one, gone}
		got := roundTrip[*kmsg.DescribeConfigsResponse](w, describe, v).Resources
		if len(got) != 4 || len(got[0].Configs) < 5 || len(got[1].Configs) < 5 || len(got[2].Configs) != 1 || got[3].ErrorCode != unknownTopicOrPartition {
			t.Fatalf("DescribeConfigs v%d: %+v", v, got)
		}
		if c := got[2].Configs[0]; c.Value == nil || *c.Value != retention || c.Source != kmsg.ConfigSourceDynamicTopicConfig {
			t.Errorf("DescribeConfigs v%d: %+v", v, c)
		}
	}

	byName := kmsg.NewPtrDeleteTopicsRequest()
	for v := lookupAPI(keyDeleteTopics).min; v <= lookupAPI(keyDeleteTopics).max; v++ {
		name, no := fmt.Sprintf("made-in-%d", v+1), "no"
		byName.TopicNames = []string{name, no}
		byName.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}, {Topic: &no}}
		got := roundTrip[*kmsg.DeleteTopicsResponse](w, byName, v).Topics
		want := none
		if name == "made-in-1" {
			want = unknownTopicOrPartition
		}
		_, there := h.engine.Topic(name)
		if len(got) != 2 || got[0].ErrorCode != want || got[1].ErrorCode != unknownTopicOrPartition || there {
			t.Errorf("DeleteTopics v%d: %+v", v, got)
		}
		if want == none {
			again := kmsg.NewPtrCreateTopicsRequest()
			row := kmsg.NewCreateTopicsRequestTopic()
			row.Topic, row.NumPartitions, row.ReplicationFactor = name, -1, -1
			again.Topics = []kmsg.CreateTopicsRequestTopic{row}
			made := roundTrip[*kmsg.CreateTopicsResponse](w, again, 7).Topics[0]
			if made.ErrorCode != none {
				t.Fatalf("made again: %+v", made)
			}
			id := kmsg.NewPtrDeleteTopicsRequest()
			id.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: made.TopicID}, {TopicID: [16]byte{9}}}
			gone := roundTrip[*kmsg.DeleteTopicsResponse](w, id, 6).Topics
			if gone[0].ErrorCode != none || gone[0].Topic == nil || *gone[0].Topic != name || gone[1].ErrorCode != unknownTopicID {
				t.Fatalf("deleted by id: %+v", gone)
			}
		}
	}
}

// TestCreateTopicsRefusals checks the error code and the message for each kind of invalid CreateTopics request.
func TestCreateTopicsRefusals(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	value := "x"
	for _, c := range []struct {
		name   string
		change func(*kmsg.CreateTopicsRequestTopic)
		want   Code
	}{
		{"no partitions", func(r *kmsg.CreateTopicsRequestTopic) { r.NumPartitions = 0 }, invalidPartitions},
		{"three replicas", func(r *kmsg.CreateTopicsRequestTopic) { r.ReplicationFactor = 3 }, invalidReplicationFactor},
		{"a name with a slash", func(r *kmsg.CreateTopicsRequestTopic) { r.Topic = "../x" }, invalidTopic},
		{"no name", func(r *kmsg.CreateTopicsRequestTopic) { r.Topic = "" }, invalidTopic},
		{"unknown config", func(r *kmsg.CreateTopicsRequestTopic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "no.such", Value: &value}}
		}, invalidConfig},
		{"config without a value", func(r *kmsg.CreateTopicsRequestTopic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
		}, invalidConfig},
		{"another broker", func(r *kmsg.CreateTopicsRequestTopic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			r.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{2}}}
		}, invalidReplicaAssignment},
		{"this broker", func(r *kmsg.CreateTopicsRequestTopic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			r.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}, {Partition: 0, Replicas: []int32{1}}}
		}, none},
	} {
		create := kmsg.NewPtrCreateTopicsRequest()
		row := kmsg.NewCreateTopicsRequestTopic()
		row.Topic, row.NumPartitions, row.ReplicationFactor = "t", 1, 1
		c.change(&row)
		create.Topics = []kmsg.CreateTopicsRequestTopic{row}
		if got := roundTrip[*kmsg.CreateTopicsResponse](w, create, 7).Topics[0]; got.ErrorCode != c.want || (got.ErrorMessage == nil) != (c.want == none) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	twice := kmsg.NewPtrCreateTopicsRequest()
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = "twice", 1, 1
	twice.Topics = []kmsg.CreateTopicsRequestTopic{row, row}
	if got := roundTrip[*kmsg.CreateTopicsResponse](w, twice, 7).Topics; len(got) != 1 || got[0].ErrorCode != invalidRequest {
		t.Errorf("named twice: %+v", got)
	}
}

// TestMetadataInEveryVersion asks in every version for all topics, some topics and none, by name and by id, with and
// without automatic creation.
func TestMetadataInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 2)
	h.topic("returns", 1)
	w := h.dial()
	names := func(r *kmsg.MetadataResponse) (names []string) {
		for _, t := range r.Topics {
			names = append(names, *t.Topic)
		}
		return names
	}
	orders, no := "orders", "bad name"
	for v := range lookupAPI(keyMetadata).max + 1 {
		all := roundTrip[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), v)
		if !slices.Equal(names(all), []string{"orders", "returns"}) || v >= 2 && (all.ClusterID == nil || *all.ClusterID == "") {
			t.Fatalf("v%d: %+v", v, all)
		}
		if p := all.Topics[0].Partitions; len(p) != 2 || p[1].Partition != 1 || p[1].Leader != 1 || !slices.Equal(p[1].ISR, []int32{1}) {
			t.Fatalf("v%d: %+v", v, p)
		}
		if v >= 10 && all.Topics[0].TopicID != topic.ID {
			t.Fatalf("v%d: id %x", v, all.Topics[0].TopicID)
		}
		some := kmsg.NewPtrMetadataRequest()
		some.Topics = []kmsg.MetadataRequestTopic{{Topic: &orders}, {Topic: &no}, {Topic: &orders}}
		some.IncludeTopicAuthorizedOperations, some.IncludeClusterAuthorizedOperations, some.AllowAutoTopicCreation = true, true, true
		got := roundTrip[*kmsg.MetadataResponse](w, some, v)
		if len(got.Topics) != 2 || got.Topics[0].ErrorCode != none || got.Topics[1].ErrorCode != invalidTopic {
			t.Fatalf("v%d: %+v", v, got.Topics)
		}
		if v >= 8 && got.Topics[0].AuthorizedOperations != topicOperations {
			t.Errorf("v%d: operations %b", v, got.Topics[0].AuthorizedOperations)
		}
		if v >= 1 {
			empty := kmsg.NewPtrMetadataRequest()
			empty.Topics = []kmsg.MetadataRequestTopic{}
			if got := roundTrip[*kmsg.MetadataResponse](w, empty, v); len(got.Topics) != 0 || len(got.Brokers) != 1 {
				t.Fatalf("v%d: none asked for, %+v", v, got)
			}
		}
	}
	byID := kmsg.NewPtrMetadataRequest()
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: topic.ID}, {TopicID: [16]byte{1}}}
	if got := roundTrip[*kmsg.MetadataResponse](w, byID, 12).Topics; *got[0].Topic != "orders" || got[1].ErrorCode != unknownTopicID || got[1].Topic != nil {
		t.Errorf("by id: %+v", got)
	}
	// Case: an id wins over any name beside it (trap 24), in the versions that look topics up by id. The earlier ones that
	// have the field refuse the request.
	for _, name := range []string{"", "returns", "bad name"} {
		byID.Topics = []kmsg.MetadataRequestTopic{{Topic: &name, TopicID: topic.ID}, {Topic: &name, TopicID: [16]byte{1}}}
		for v := int16(10); v <= lookupAPI(keyMetadata).max; v++ {
			got := roundTrip[*kmsg.MetadataResponse](w, byID, v)
			switch {
			case v < 12 && (got.Topics[0].ErrorCode != invalidRequest || got.Topics[1].ErrorCode != invalidRequest || len(got.Brokers) != 0):
				t.Errorf("v%d: by id and name %q: %+v", v, name, got)
			case v >= 12 && (got.Topics[0].ErrorCode != none || *got.Topics[0].Topic != "orders" || got.Topics[1].ErrorCode != unknownTopicID):
				t.Errorf("v%d: by id and name %q: %+v", v, name, got.Topics)
			}
		}
	}
	fresh := "fresh"
	make := kmsg.NewPtrMetadataRequest()
	make.Topics = []kmsg.MetadataRequestTopic{{Topic: &fresh}}
	if got := roundTrip[*kmsg.MetadataResponse](w, make, 9).Topics[0]; got.ErrorCode != unknownTopicOrPartition {
		t.Errorf("not allowed to create: %+v", got)
	}
	make.AllowAutoTopicCreation = true
	if got := roundTrip[*kmsg.MetadataResponse](w, make, 9).Topics[0]; got.ErrorCode != none || len(got.Partitions) != 1 {
		t.Errorf("created: %+v", got)
	}
}

// TestInvalidTopicNames asks about topics that cannot be: clients must not take the name for one that will appear.
func TestInvalidTopicNames(t *testing.T) {
	h := newTestServer(t)
	w := h.dial()
	for _, name := range []string{"", ".", "..", "a/b", "a b", "ä", strings.Repeat("x", 250)} {
		for v := int16(4); v <= lookupAPI(keyMetadata).max; v++ {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
			if got := roundTrip[*kmsg.MetadataResponse](w, req, v).Topics[0]; got.ErrorCode != invalidTopic || *got.Topic != name {
				t.Errorf("Metadata v%d of %q: %+v", v, name, got)
			}
		}
		configs := kmsg.NewPtrDescribeConfigsRequest()
		configs.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}}
		if got := roundTrip[*kmsg.DescribeConfigsResponse](w, configs, 4).Resources[0]; got.ErrorCode != invalidTopic {
			t.Errorf("DescribeConfigs of %q: %+v", name, got)
		}
		want := invalidTopic
		if name == "" {
			want = invalidRequest
		}
		alter := kmsg.NewPtrAlterConfigsRequest()
		alter.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}}
		if got := roundTrip[*kmsg.AlterConfigsResponse](w, alter, 2).Resources[0]; got.ErrorCode != want {
			t.Errorf("AlterConfigs of %q: %+v", name, got)
		}
		incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
		incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}}
		if got := roundTrip[*kmsg.IncrementalAlterConfigsResponse](w, incremental, 1).Resources[0]; got.ErrorCode != want {
			t.Errorf("IncrementalAlterConfigs of %q: %+v", name, got)
		}
		deleted := kmsg.NewPtrDeleteTopicsRequest()
		deleted.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		if got := roundTrip[*kmsg.DeleteTopicsResponse](w, deleted, 6).Topics[0]; got.ErrorCode != unknownTopicOrPartition {
			t.Errorf("DeleteTopics of %q: %+v", name, got)
		}
	}
}

// TestOffsetsInEveryVersion asks in every version for offsets by timestamp and by the special negative timestamps, and
// for the end offsets of leader epochs.
func TestOffsetsInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	for _, v := range []string{"a", "b", "c"} {
		roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 0, records(v)), 9)
	}
	for v := lookupAPI(keyListOffsets).min; v <= lookupAPI(keyListOffsets).max; v++ {
		for _, c := range []struct {
			timestamp, offset int64
			since             int16
		}{{-1, 3, 1}, {-2, 0, 1}, {0, 0, 1}, {1 << 60, -1, 1}, {-4, 0, 8}, {-5, -1, 9}, {-6, -1, 11}} {
			if v < c.since {
				continue
			}
			req := latest(topic)
			req.Topics[0].Partitions[0].Timestamp = c.timestamp
			if got := roundTrip[*kmsg.ListOffsetsResponse](w, req, v).Topics[0].Partitions[0]; got.ErrorCode != none || got.Offset != c.offset {
				t.Errorf("ListOffsets v%d of %d: %+v, want %d", v, c.timestamp, got, c.offset)
			}
		}
		wrong := latest(topic)
		wrong.Topics[0].Partitions[0].Partition = 1
		if got := roundTrip[*kmsg.ListOffsetsResponse](w, wrong, v).Topics[0].Partitions[0]; got.ErrorCode != unknownTopicOrPartition {
			t.Errorf("ListOffsets v%d: %+v", v, got)
		}
		if v >= 4 {
			fenced := latest(topic)
			fenced.Topics[0].Partitions[0].CurrentLeaderEpoch = 1000
			if got := roundTrip[*kmsg.ListOffsetsResponse](w, fenced, v).Topics[0].Partitions[0]; got.ErrorCode != unknownLeaderEpoch {
				t.Errorf("ListOffsets v%d: %+v", v, got)
			}
		}
	}
	for v := lookupAPI(keyOffsetForLeaderEpoch).min; v <= lookupAPI(keyOffsetForLeaderEpoch).max; v++ {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		p, q := kmsg.NewOffsetForLeaderEpochRequestTopicPartition(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.LeaderEpoch = h.engine.LeaderEpoch(enginePartition(topic, 0))
		q.Partition = 5
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p, q}}}
		got := roundTrip[*kmsg.OffsetForLeaderEpochResponse](w, req, v).Topics[0].Partitions
		if got[0].ErrorCode != none || got[0].EndOffset != 3 || got[0].LeaderEpoch != p.LeaderEpoch || got[1].ErrorCode != unknownTopicOrPartition {
			t.Errorf("OffsetForLeaderEpoch v%d: %+v", v, got)
		}
	}
	for v := range lookupAPI(keyDescribeCluster).max + 1 {
		req := kmsg.NewPtrDescribeClusterRequest()
		got := roundTrip[*kmsg.DescribeClusterResponse](w, req, v)
		if got.ErrorCode != none || len(got.Brokers) != 1 || got.ControllerID != 1 || got.ClusterID != h.engine.ClusterID() {
			t.Errorf("DescribeCluster v%d: %+v", v, got)
		}
		if v == 0 {
			continue
		}
		req.EndpointType = controllerEndpoints
		if got := roundTrip[*kmsg.DescribeClusterResponse](w, req, v); got.ErrorCode != mismatchedEndpointType {
			t.Errorf("DescribeCluster v%d of controllers: %+v", v, got)
		}
	}
}

// TestAnswersOfApacheKafka sends requests that Apache Kafka 4.3 answers in ways that no client asks for on purpose, but
// some depend on. conformance compares many more with the original.
func TestAnswersOfApacheKafka(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()

	// Case: timestamps that stand for a place in the log, before the versions that know them, and such as never did.
	for timestamp, since := range map[int64]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11, -7: 99, -8: 99} {
		for v := int16(1); v <= lookupAPI(keyListOffsets).max; v++ {
			req := latest(topic)
			req.Topics[0].Partitions[0].Timestamp = timestamp
			want := none
			if v < since {
				want = unsupportedVersion
			}
			if got := roundTrip[*kmsg.ListOffsetsResponse](w, req, v).Topics[0].Partitions; len(got) != 1 || got[0].ErrorCode != want {
				t.Errorf("ListOffsets v%d of %d: %+v, want %d", v, timestamp, got, want)
			}
		}
	}
	twice := latest(topic)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions...)
	if got := roundTrip[*kmsg.ListOffsetsResponse](w, twice, 7).Topics[0].Partitions; len(got) != 1 || got[0].ErrorCode != invalidRequest {
		t.Errorf("ListOffsets of a partition twice: %+v", got)
	}

	beyond := roundTrip[*kmsg.FetchResponse](w, fetchFrom(topic, 0, 5, 0), 12).Topics[0].Partitions[0]
	if beyond.ErrorCode != offsetOutOfRange || beyond.HighWatermark != -1 || beyond.LastStableOffset != -1 || beyond.LogStartOffset != -1 {
		t.Errorf("Fetch beyond the end: %+v", beyond)
	}

	// Case: a commit of a generation of a group that does not exist (KIP-848).
	for v := int16(2); v <= 9; v++ {
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Group, commit.Generation, commit.MemberID = "ghost", 5, "m"
		commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic.Name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
		want := illegalGeneration
		if v >= 9 {
			want = groupIDNotFound
		}
		if got := roundTrip[*kmsg.OffsetCommitResponse](w, commit, v).Topics[0].Partitions[0]; got.ErrorCode != want {
			t.Errorf("OffsetCommit v%d: %+v, want %d", v, got, want)
		}
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID = "ghost", "m"
	if got := roundTrip[*kmsg.SyncGroupResponse](w, sync, 5); got.ErrorCode != inconsistentGroupProtocol {
		t.Errorf("SyncGroup without a protocol: %+v", got)
	}
	for v := int16(3); v <= lookupAPI(keyDescribeGroups).max; v++ {
		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Groups, describe.IncludeAuthorizedOperations = []string{"ghost"}, true
		want := int32(3400)
		if v >= 6 {
			want = operationsNotAsked
		}
		if got := roundTrip[*kmsg.DescribeGroupsResponse](w, describe, v).Groups[0]; got.AuthorizedOperations != want {
			t.Errorf("DescribeGroups v%d: %+v, want %d", v, got, want)
		}
	}
	if got := roundTrip[*kmsg.OffsetDeleteResponse](w, kmsg.NewPtrOffsetDeleteRequest(), 0); got.ErrorCode != invalidGroupID {
		t.Errorf("OffsetDelete without a group: %+v", got)
	}

	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "new", NumPartitions: 1, ReplicationFactor: 1,
		ReplicaAssignment: []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1}}}}}
	if got := roundTrip[*kmsg.CreateTopicsResponse](w, create, 7).Topics[0]; got.ErrorCode != invalidRequest {
		t.Errorf("CreateTopics with partitions and an assignment: %+v", got)
	}
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic.Name, Count: 2}, {Topic: topic.Name, Count: 2}}
	if got := roundTrip[*kmsg.CreatePartitionsResponse](w, grow, 3).Topics; len(got) != 1 || got[0].ErrorCode != invalidRequest {
		t.Errorf("CreatePartitions of a topic twice: %+v", got)
	}
	for name, asks := range map[string][]kmsg.DeleteTopicsRequestTopic{
		"by name and id":     {{Topic: &topic.Name, TopicID: topic.ID}},
		"by neither":         {{}},
		"by the name, twice": {{Topic: &topic.Name}, {Topic: &topic.Name}},
	} {
		remove := kmsg.NewPtrDeleteTopicsRequest()
		remove.Topics = asks
		if got := roundTrip[*kmsg.DeleteTopicsResponse](w, remove, 6).Topics; len(got) != 1 || got[0].ErrorCode != invalidRequest {
			t.Errorf("DeleteTopics %s: %+v", name, got)
		}
	}
	if got, ok := h.engine.Topic(topic.Name); !ok || got.Partitions != 1 {
		t.Errorf("a refused request changed the topic: %+v, %t", got, ok)
	}
}

// TestCheapAPIs asks for what one broker without quotas, users, authorization and reassignments answers at once.
func TestCheapAPIs(t *testing.T) {
	h := newTestServer(t, func(c *Config) { c.DataDir = "/var/lib/tidings" })
	topic, other := h.topic("orders", 2), h.topic("returns", 1)
	w := h.dial()
	batch := records("x")
	roundTrip[*kmsg.ProduceResponse](w, produceTo(topic, 1, batch), 9)
	each := func(key Key, ask func(version int16)) {
		for v := lookupAPI(key).min; v <= lookupAPI(key).max; v++ {
			ask(v)
		}
	}
	missing := "missing"

	each(keyDescribeLogDirs, func(v int16) {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		rows := func() string {
			var rows strings.Builder
			for _, dir := range roundTrip[*kmsg.DescribeLogDirsResponse](w, req, v).Dirs {
				fmt.Fprintf(&rows, "%s (error %d, %d of %d bytes)", dir.Dir, dir.ErrorCode, dir.UsableBytes, dir.TotalBytes)
				for _, topic := range dir.Topics {
					for _, p := range topic.Partitions {
						fmt.Fprintf(&rows, " %s/%d=%d", topic.Topic, p.Partition, p.Size)
					}
				}
			}
			return rows.String()
		}
		const dir = "/var/lib/tidings (error 0, -1 of -1 bytes)"
		if got, want := rows(), fmt.Sprintf("%s orders/0=0 orders/1=%d returns/0=0", dir, len(batch)); got != want {
			t.Errorf("DescribeLogDirs v%d: %s, want %s", v, got, want)
		}
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "orders", Partitions: []int32{1, 9}}, {Topic: missing, Partitions: []int32{0}}}
		if got, want := rows(), fmt.Sprintf("%s orders/1=%d", dir, len(batch)); got != want {
			t.Errorf("DescribeLogDirs v%d of some: %s, want %s", v, got, want)
		}
	})
	each(keyAlterReplicaLogDirs, func(v int16) {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		for _, dir := range []string{"/elsewhere", "/var/lib/tidings"} {
			req.Dirs = append(req.Dirs, kmsg.AlterReplicaLogDirsRequestDir{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "orders", Partitions: []int32{0, 9}}}})
		}
		got := roundTrip[*kmsg.AlterReplicaLogDirsResponse](w, req, v).Topics
		if got[0].Partitions[0].ErrorCode != logDirNotFound || got[1].Partitions[0].ErrorCode != none || got[1].Partitions[1].ErrorCode != unknownTopicOrPartition {
			t.Errorf("AlterReplicaLogDirs v%d: %+v", v, got)
		}
	})
	each(keyElectLeaders, func(v int16) {
		req := kmsg.NewPtrElectLeadersRequest()
		if got := roundTrip[*kmsg.ElectLeadersResponse](w, req, v); len(got.Topics) != 2 || got.ErrorCode != none {
			t.Errorf("ElectLeaders v%d of all: %+v", v, got)
		}
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{0, 9}}}
		if got := roundTrip[*kmsg.ElectLeadersResponse](w, req, v).Topics[0].Partitions; got[0].ErrorCode != electionNotNeeded || got[1].ErrorCode != unknownTopicOrPartition {
			t.Errorf("ElectLeaders v%d: %+v", v, got)
		}
		if req.ElectionType = 2; v >= 1 && roundTrip[*kmsg.ElectLeadersResponse](w, req, v).ErrorCode != invalidRequest {
			t.Errorf("ElectLeaders v%d: an unknown kind was taken", v)
		}
	})
	each(keyAlterPartitionAssignments, func(v int16) {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "orders", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
			{Partition: 0, Replicas: []int32{1}}, {Partition: 0, Replicas: []int32{7}}, {Partition: 0}, {Partition: 9, Replicas: []int32{1}},
		}}}
		for i, want := range []Code{none, invalidReplicaAssignment, noReassignmentInProgress, unknownTopicOrPartition} {
			if got := roundTrip[*kmsg.AlterPartitionAssignmentsResponse](w, req, v).Topics[0].Partitions[i]; got.ErrorCode != want {
				t.Errorf("AlterPartitionReassignments v%d, row %d: %+v, want %d", v, i, got, want)
			}
		}
	})
	if got := roundTrip[*kmsg.ListPartitionReassignmentsResponse](w, kmsg.NewPtrListPartitionReassignmentsRequest(), 0); got.ErrorCode != none || len(got.Topics) != 0 {
		t.Errorf("ListPartitionReassignments: %+v", got)
	}
	each(keyDescribeClientQuotas, func(v int16) {
		if got := roundTrip[*kmsg.DescribeClientQuotasResponse](w, kmsg.NewPtrDescribeClientQuotasRequest(), v); got.ErrorCode != none || len(got.Entries) != 0 {
			t.Errorf("DescribeClientQuotas v%d: %+v", v, got)
		}
		alter := kmsg.NewPtrAlterClientQuotasRequest()
		alter.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &missing}}}}
		if got := roundTrip[*kmsg.AlterClientQuotasResponse](w, alter, v).Entries; len(got) != 1 || got[0].ErrorCode != policyViolation || *got[0].Entity[0].Name != missing {
			t.Errorf("AlterClientQuotas v%d: %+v", v, got)
		}
	})
	users := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	if got := roundTrip[*kmsg.DescribeUserSCRAMCredentialsResponse](w, users, 0); got.ErrorCode != none || len(got.Results) != 0 {
		t.Errorf("DescribeUserScramCredentials of all: %+v", got)
	}
	users.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "b"}, {Name: "a"}, {Name: "b"}}
	if got := roundTrip[*kmsg.DescribeUserSCRAMCredentialsResponse](w, users, 0).Results; len(got) != 2 || got[0].ErrorCode != resourceNotFound || got[1].ErrorCode != duplicateResource {
		t.Errorf("DescribeUserScramCredentials: %+v", got)
	}
	each(keyDescribeACLs, func(v int16) {
		create, remove := kmsg.NewPtrCreateACLsRequest(), kmsg.NewPtrDeleteACLsRequest()
		create.Creations, remove.Filters = make([]kmsg.CreateACLsRequestCreation, 2), make([]kmsg.DeleteACLsRequestFilter, 1)
		if roundTrip[*kmsg.DescribeACLsResponse](w, kmsg.NewPtrDescribeACLsRequest(), v).ErrorCode != securityDisabled {
			t.Errorf("DescribeAcls v%d", v)
		}
		if got := roundTrip[*kmsg.CreateACLsResponse](w, create, v).Results; len(got) != 2 || got[0].ErrorCode != securityDisabled {
			t.Errorf("CreateAcls v%d: %+v", v, got)
		}
		if got := roundTrip[*kmsg.DeleteACLsResponse](w, remove, v).Results; len(got) != 1 || got[0].ErrorCode != securityDisabled {
			t.Errorf("DeleteAcls v%d: %+v", v, got)
		}
	})
	each(keyDescribeQuorum, func(v int16) {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		got := roundTrip[*kmsg.DescribeQuorumResponse](w, req, v)
		if p := got.Topics[0].Partitions[0]; p.ErrorCode != none || p.LeaderID != 1 || len(p.CurrentVoters) != 1 || p.CurrentVoters[0].ReplicaID != 1 || v >= 2 && len(got.Nodes) != 1 {
			t.Errorf("DescribeQuorum v%d: %+v", v, got)
		}
	})
	each(keyUpdateFeatures, func(v int16) {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1}}
		if got := roundTrip[*kmsg.UpdateFeaturesResponse](w, req, v); got.ErrorCode != invalidUpdateVersion {
			t.Errorf("UpdateFeatures v%d: %+v", v, got)
		}
	})
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "orders", Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}, {Topic: "a/b", Partitions: []int32{0}}}
	if got := roundTrip[*kmsg.DescribeProducersResponse](w, producers, 0).Topics; got[0].Partitions[0].ErrorCode != none || got[0].Partitions[1].ErrorCode != unknownTopicOrPartition ||
		got[1].Partitions[0].ErrorCode != unknownTopicOrPartition || got[2].Partitions[0].ErrorCode != invalidTopic {
		t.Errorf("DescribeProducers: %+v", got)
	}
	unregister := kmsg.NewPtrUnregisterBrokerRequest()
	for id, want := range map[int32]Code{7: brokerIDNotRegistered, 1: invalidRequest} {
		if unregister.BrokerID = id; roundTrip[*kmsg.UnregisterBrokerResponse](w, unregister, 0).ErrorCode != want {
			t.Errorf("UnregisterBroker of %d, want %d", id, want)
		}
	}
	list := kmsg.NewPtrListConfigResourcesRequest()
	for kind, want := range map[int8]int{2: 2, 4: 1, 8: 1, 16: 0, 32: 0} {
		list.ResourceTypes = []int8{kind, kind}
		if got := roundTrip[*kmsg.ListConfigResourcesResponse](w, list, 1); got.ErrorCode != none || len(got.ConfigResources) != want {
			t.Errorf("ListConfigResources of kind %d: %+v", kind, got)
		}
	}
	list.ResourceTypes = []int8{99}
	if got := roundTrip[*kmsg.ListConfigResourcesResponse](w, list, 1); got.ErrorCode != unsupportedVersion {
		t.Errorf("ListConfigResources of kind 99: %+v", got)
	}

	// Case: pages of topics, which go on where the last one ended, in the middle of a topic, too.
	page, described := kmsg.NewPtrDescribeTopicPartitionsRequest(), ""
	page.ResponsePartitionLimit = 1
	for range 5 {
		got := roundTrip[*kmsg.DescribeTopicPartitionsResponse](w, page, 0)
		for _, row := range got.Topics {
			for _, p := range row.Partitions {
				described += fmt.Sprintf("%s/%d ", *row.Topic, p.Partition)
			}
		}
		if got.NextCursor == nil {
			break
		}
		page.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: got.NextCursor.Topic, Partition: got.NextCursor.Partition}
	}
	if described != "orders/0 orders/1 returns/0 " {
		t.Errorf("DescribeTopicPartitions, a partition at a time: %s", described)
	}
	page = kmsg.NewPtrDescribeTopicPartitionsRequest()
	page.ResponsePartitionLimit = 2000
	page.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: other.Name}, {Topic: missing}, {Topic: "a/b"}, {Topic: other.Name}}
	if got := roundTrip[*kmsg.DescribeTopicPartitionsResponse](w, page, 0).Topics; len(got) != 3 || got[0].ErrorCode != invalidTopic || got[1].ErrorCode != unknownTopicOrPartition ||
		got[2].ErrorCode != none || got[2].TopicID != other.ID || got[2].Partitions[0].LeaderID != 1 || !slices.Equal(got[2].Partitions[0].ISR, []int32{1}) {
		t.Errorf("DescribeTopicPartitions: %+v", got)
	}
}
