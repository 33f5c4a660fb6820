package conformance

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is one of the two that TestKafkaDifferences compares.
type broker struct {
	t       *testing.T
	name    string
	address string
	ids     map[string][16]byte // ids of the topics, by name
	epoch   int32               // leader epoch of the topics' partitions
	conn    net.Conn            // nil if there is none
}

// patience is how long an answer is waited for. Apache Kafka has some questions that it never answers.
const patience = 5 * time.Second

// question is a request that is sent to both brokers.
type question struct {
	name    string
	version int16
	ask     func(b *broker) kmsg.Request
	mangle  func(frame []byte) []byte // changes the frame, if not nil; the size field is set afterwards
}

// answer returns what the broker answers to q, in one line: the response without what differs between any two brokers,
// or how the connection ended.
func (b *broker) answer(q question) string {
	req := q.ask(b)
	req.SetVersion(q.version)
	body, how := b.exchange(req, q.mangle)
	if how != "" {
		return how
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Sprintf("an answer that does not decode: %v", err)
	}
	comparable(resp)
	return oneLine(b.t, resp)
}

// roundTrip sends req in this version and returns the response.
func (b *broker) roundTrip(req kmsg.Request, version int16) kmsg.Response {
	b.t.Helper()
	req.SetVersion(version)
	body, how := b.exchange(req, nil)
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); how != "" || err != nil {
		b.t.Fatalf("%s: %T v%d: %s%v", b.name, req, version, how, err)
	}
	return resp
}

// exchange sends req, whose frame mangle may change, and returns the body of the response; or says how the connection
// ended without one.
func (b *broker) exchange(req kmsg.Request, mangle func([]byte) []byte) (body []byte, how string) {
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("differences")).AppendRequest(nil, req, 7)
	if mangle != nil {
		frame = mangle(frame)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	if b.conn == nil {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { conn.Close() })
		b.conn = conn
	}
	defer func() {
		if how != "" {
			b.conn.Close()
			b.conn = nil
		}
	}()
	b.conn.SetDeadline(time.Now().Add(patience))
	if _, err := b.conn.Write(frame); err != nil {
		return nil, "closed"
	}
	var head [8]byte
	if _, err := io.ReadFull(b.conn, head[:]); err != nil {
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return nil, "nothing"
		}
		return nil, "closed"
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(b.conn, body); err != nil {
		return nil, "closed in an answer"
	}
	if resp := req.ResponseKind(); resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		body = body[1:]
	}
	return body, ""
}

// differsAlways are the fields of responses that are not compared.
var differsAlways = map[string]bool{
	"ThrottleMillis": true, "ErrorMessage": true, "ClusterID": true, "Host": true, "Port": true, "TopicID": true, "Version": true,
	"UnknownTags": true, "LogAppendTime": true, "ProducerID": true, "MemberID": true, "CurrentLeader": true,
	"LogStartOffset": true, "ErrorRecords": true, "LeaderEpoch": true,
	"Dir": true, "Size": true, "TotalBytes": true, "UsableBytes": true,
}

// comparable removes from a response what differs between any two brokers and is no single field, and sorts what has no
// order.
func comparable(resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for i := range r.Topics {
			r.Topics[i].Configs = nil
		}
	case *kmsg.DescribeConfigsResponse:
		for i := range r.Resources {
			configs := r.Resources[i].Configs
			if len(configs) > 10 { // all of them
				configs = slices.DeleteFunc(configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
					return strings.HasPrefix(c.Name, "tidings.") || c.Name == "segment.bytes" || c.Name == "min.insync.replicas"
				})
			}
			slices.SortFunc(configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return strings.Compare(a.Name, b.Name) })
			r.Resources[i].Configs = configs
		}
	}
}

// oneLine returns the response as one line, with the fields that have something to say.
func oneLine(t *testing.T, resp kmsg.Response) string {
	encoded, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(pruned(tree))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`"`, "", "{}", "").Replace(string(line))
}

// pruned returns the tree without empty values and without the fields in differsAlways.
func pruned(tree any) any {
	switch x := tree.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, value := range x {
			switch v := pruned(value); {
			case v == nil || differsAlways[name]:
			case name == "BaseOffset" && fmt.Sprint(v) != "-1":
			default:
				kept[name] = v
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		if len(x) == 0 {
			return nil
		}
		all := make([]any, len(x))
		for i := range x {
			all[i] = pruned(x[i])
		}
		return all
	}
	return tree
}

// knownDifferences are the questions that Tidings answers otherwise, by the beginning of their names, with the reason. Each
// must be in docs/kafka-differences.md.
var knownDifferences = map[string]string{
	"Produce: gzip that is none":                  "INVALID_RECORD says more than UNKNOWN_SERVER_ERROR",
	"Produce: gzip cut":                           "the same",
	"Produce: snappy that is none":                "the same",
	"Produce: lz4 that is none":                   "the same",
	"Produce: zstd that is none":                  "the same",
	"Produce: gzip, offsets 0 and 0":              "the same",
	"Produce: records do not decode":              "the same",
	"Produce: codec":                              "UNSUPPORTED_COMPRESSION_TYPE says more than UNKNOWN_SERVER_ERROR",
	"Produce: offset":                             "offsets of uncompressed records must be right, too",
	"Produce: delete horizon":                     "the flag would give the batch another timestamp",
	"Produce: producer":                           "nonsense in a header is refused",
	"Produce: null records":                       "an answer is better than none",
	"Produce: v2":                                 "answered, where the connection is closed",
	"Metadata: zero id, null name":                "UNKNOWN_TOPIC_ID says more than UNKNOWN_SERVER_ERROR",
	"CreateTopics: 20000 partitions":              "INVALID_PARTITIONS",
	"CreatePartitions: 20000":                     "INVALID_PARTITIONS",
	"CreateTopics: segment.bytes=1024":            "small segments are allowed",
	"IncrementalAlterConfigs: segment.bytes=1024": "small segments are allowed",
	"AlterConfigs: segment.bytes=1024":            "small segments are allowed",
	"ListOffsets: isolation 7":                    "an unknown isolation level is read_uncommitted",
	"Fetch: isolation 7":                          "an unknown isolation level is read_uncommitted",
	"Fetch: last fetched epoch 5":                 "there are no followers",
	"ListOffsets: largest timestamp after":        "a deleted record is not found",
	"OffsetForLeaderEpoch: -5":                    "there is no such epoch",
	"FindCoordinator: kind 1":                     "the coordinator of transactions is there at once",
	"DescribeConfigs: brokers":                    "the defaults of all brokers cannot be set",
	"DescribeConfigs: client metrics":             "there are none",
	"DescribeConfigs: a group":                    "there are none",
	"DescribeConfigs: group ''":                   "there are none",
	"DescribeConfigs: a topic twice":              "one answer for each resource",
	"IncrementalAlterConfigs: operation 9":        "INVALID_CONFIG says more than UNKNOWN_SERVER_ERROR",
	"IncrementalAlterConfigs: a broker":           "the broker is not configured while it runs",
	"IncrementalAlterConfigs: a logger":           "the broker is not configured while it runs",
	"IncrementalAlterConfigs: a topic twice":      "one answer for each resource",
	"AlterClientQuotas":                           "there are no quotas",
	"DescribeQuorum v":                            "the metadata is no topic, and has no offsets",
	"UpdateFeatures: group.version=1":             "there are no features",
}

// TestKafkaDifferences sends odd requests, in each version of their APIs, to Tidings and to Apache Kafka, and compares the
// answers. Those that differ must be known, and what is known to differ must differ. The environment variable
// KAFKA_ADDRESS names a running Apache Kafka to use.
func TestKafkaDifferences(t *testing.T) {
	address := freeAddress(t)
	serve(t, t.TempDir(), address, "--auto-create-topics")
	kafka := os.Getenv("KAFKA_ADDRESS")
	if kafka == "" {
		kafka = apacheKafka(t)
	}
	ours, theirs := &broker{t: t, name: "Tidings", address: address}, &broker{t: t, name: "Apache Kafka", address: kafka}
	ours.prepare()
	theirs.prepare()

	type difference struct{ name, ours, theirs string }
	versions := map[difference][]string{}
	var unknown []difference
	asked, met := 0, map[string]bool{}
	for _, q := range questions() {
		asked++
		d := difference{q.name, ours.answer(q), theirs.answer(q)}
		if d.ours == d.theirs {
			continue
		}
		known := false
		for beginning := range knownDifferences {
			if strings.HasPrefix(q.name, beginning) {
				known, met[beginning] = true, true
			}
		}
		if known {
			continue
		}
		if versions[d] == nil {
			unknown = append(unknown, d)
		}
		versions[d] = append(versions[d], strconv.Itoa(int(q.version)))
	}
	t.Logf("%d questions", asked)
	for _, d := range unknown {
		t.Errorf("%s, versions %s\n     ours: %s\n   theirs: %s", d.name, strings.Join(versions[d], " "), d.ours, d.theirs)
	}
	for beginning := range knownDifferences {
		if !met[beginning] {
			t.Errorf("nothing differs any more in: %s", beginning)
		}
	}
}

// The topics that the questions are about. runID makes them unique on a broker that is used several times.
var (
	runID     = strconv.FormatInt(time.Now().UnixNano(), 36)
	plain     = "plain-" + runID
	compacted = "compacted-" + runID
	stamped   = "stamped-" + runID
	missing   = "missing-" + runID
	unknown   = "unknown-" + runID // a group
	simple    = "simple-" + runID  // a group with positions and without members
	joining   = "join-" + runID    // a group that nobody has joined
	ghost     = "ghost-" + runID   // a group that nothing is known of
	groups    = []string{"", unknown, simple, joining, ghost}
)

// prepare makes the topics that the questions are about.
func (b *broker) prepare() {
	b.t.Helper()
	b.ids = map[string][16]byte{}
	req := kmsg.NewPtrCreateTopicsRequest()
	for name, config := range map[string]string{plain: "", compacted: "cleanup.policy=compact", stamped: "message.timestamp.type=LogAppendTime"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		if key, value, ok := strings.Cut(config, "="); ok {
			topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: key, Value: &value}}
		}
		req.Topics = append(req.Topics, topic)
	}
	req.TimeoutMillis = 10_000
	resp := b.roundTrip(req, 7).(*kmsg.CreateTopicsResponse)
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 {
			b.t.Fatalf("%s: %+v", b.name, t)
		}
		b.ids[t.Topic] = t.TopicID
	}
	// A broker that has just started, or made a topic, has no leader and no coordinator for a while.
	b.await("a leader", func() bool {
		resp := b.roundTrip(listOffsets(plain, 0, -1), 5).(*kmsg.ListOffsetsResponse)
		b.epoch = resp.Topics[0].Partitions[0].LeaderEpoch
		return resp.Topics[0].Partitions[0].ErrorCode == 0
	})
	for _, group := range groups {
		b.await("a coordinator", func() bool {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.MemberID = group, "m"
			code := b.roundTrip(req, 4).(*kmsg.HeartbeatResponse).ErrorCode
			if code == 15 || code == 16 {
				find := kmsg.NewPtrFindCoordinatorRequest()
				find.CoordinatorKey = group
				b.roundTrip(find, 3)
			}
			return code != 14 && code != 15 && code != 16
		})
	}
	b.await("a producer id", func() bool {
		return b.roundTrip(kmsg.NewPtrInitProducerIDRequest(), 4).(*kmsg.InitProducerIDResponse).ErrorCode == 0
	})
}

// later returns the leader epoch that is n after the present one; n itself if it is negative.
func (b *broker) later(n int32) int32 {
	if n < 0 {
		return n
	}
	return b.epoch + n
}

// await asks until the answer is yes.
func (b *broker) await(what string, ask func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ask(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s has not got %s", b.name, what)
		}
	}
}

// produce returns a question about a batch for a topic.
func produce(name string, version int16, topic string, batch []byte) question {
	return question{name: "Produce: " + name, version: version, ask: func(b *broker) kmsg.Request {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 5000
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: b.ids[topic],
			Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
		return req
	}}
}

// batch returns a record batch with records, which change may change before its length and checksum are set.
func batch(records []byte, count int32, change func(*kmsg.RecordBatch)) []byte {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, LastOffsetDelta: count - 1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: count, Records: records,
	}
	if change != nil {
		change(&b)
	}
	b.Length = int32(49 + len(b.Records))
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// record returns one record with a key and a value; a nil key is null.
func record(offsetDelta, timestampDelta int64, key, value []byte) []byte {
	field := func(b, field []byte) []byte {
		if field == nil {
			return binary.AppendVarint(b, -1)
		}
		return append(binary.AppendVarint(b, int64(len(field))), field...)
	}
	body := []byte{0}
	body = binary.AppendVarint(body, timestampDelta)
	body = binary.AppendVarint(body, offsetDelta)
	body = field(field(body, key), value)
	body = append(body, 0)
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// zipped returns b compressed with gzip.
func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// versions returns the question once for each version.
func versions(from, to int16, name string, ask func(b *broker) kmsg.Request) (all []question) {
	for v := from; v <= to; v++ {
		all = append(all, question{name: name, version: v, ask: ask})
	}
	return all
}

// questions returns all questions, in the order in which they are asked. The later ones may depend on what the earlier
// ones have changed.
func questions() []question {
	return slices.Concat(produceQuestions(), topicQuestions(), offsetQuestions(), groupQuestions(), configQuestions(), cheapQuestions())
}

// oddNames are names of topics that no topic may have, and one that none has.
var oddNames = map[string]string{
	"empty": "", "dot": ".", "two dots": "..", "slash": "a/b", "space": "a b", "umlaut": "ä", "250 bytes": strings.Repeat("x", 250), "missing": missing,
}

func topicQuestions() (all []question) {
	for _, kind := range slices.Sorted(maps.Keys(oddNames)) {
		name := oddNames[kind]
		metadata := func(auto bool) func(b *broker) kmsg.Request {
			return func(b *broker) kmsg.Request {
				req := kmsg.NewPtrMetadataRequest()
				req.AllowAutoTopicCreation = auto
				req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
				return req
			}
		}
		all = append(all, versions(4, 13, "Metadata: name "+kind, metadata(false))...)
		if name != missing { // versions below 4 create what they name
			all = append(all, versions(0, 13, "Metadata: name "+kind+", to be created", metadata(true))...)
		}
		all = append(all, versions(2, 7, "CreateTopics: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.ValidateOnly, req.TimeoutMillis = true, 5000
			req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}
			return req
		})...)
		all = append(all, versions(1, 6, "DeleteTopics: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 5000
			req.TopicNames, req.Topics = []string{name}, []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
			return req
		})...)
		all = append(all, versions(0, 3, "CreatePartitions: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.TimeoutMillis = 5000
			req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 3}}
			return req
		})...)
		all = append(all, versions(0, 2, "DeleteRecords: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.TimeoutMillis = 5000
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}}}
			return req
		})...)
		all = append(all, versions(1, 4, "DescribeConfigs: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDescribeConfigsRequest()
			req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: name}}
			return req
		})...)
		all = append(all, versions(0, 2, "AlterConfigs: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrAlterConfigsRequest()
			req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: name}}
			return req
		})...)
		all = append(all, versions(0, 1, "IncrementalAlterConfigs: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: name}}
			return req
		})...)
		all = append(all, versions(1, 11, "ListOffsets: name "+kind, func(b *broker) kmsg.Request { return listOffsets(name, 0, -1) })...)
		all = append(all, versions(4, 12, "Fetch: name "+kind, func(b *broker) kmsg.Request { return fetch(b, name, 0) })...)
		all = append(all, versions(2, 4, "OffsetForLeaderEpoch: name "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
			return req
		})...)
		all = append(all, versions(2, 9, "OffsetCommit: name "+kind, func(b *broker) kmsg.Request { return commit(simple, name, -1, "") })...)
		all = append(all, versions(3, 12, "Produce: name "+kind, produce("", 0, name, batch(record(0, 0, nil, nil), 1, nil)).ask)...)
	}
	id := func(names ...string) func(b *broker) kmsg.Request {
		return func(b *broker) kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			for i := range names {
				t := kmsg.MetadataRequestTopic{Topic: &names[i], TopicID: b.ids[plain]}
				if names[i] == "null" {
					t.Topic = nil
				}
				req.Topics = append(req.Topics, t)
			}
			return req
		}
	}
	all = append(all, versions(10, 13, "Metadata: id, empty name", id(""))...)
	all = append(all, versions(10, 13, "Metadata: id, null name", id("null"))...)
	all = append(all, versions(10, 13, "Metadata: id, another name", id(missing))...)
	all = append(all, versions(10, 13, "Metadata: unknown id, empty name", func(b *broker) kmsg.Request {
		req, empty := kmsg.NewPtrMetadataRequest(), ""
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: &empty, TopicID: [16]byte{1}}}
		return req
	})...)
	all = append(all, versions(10, 13, "Metadata: zero id, null name", func(b *broker) kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{{}}
		return req
	})...)
	for kind, ask := range map[string]func(b *broker) kmsg.DeleteTopicsRequestTopic{
		"name and id": func(b *broker) kmsg.DeleteTopicsRequestTopic {
			name := plain
			return kmsg.DeleteTopicsRequestTopic{Topic: &name, TopicID: b.ids[plain]}
		},
		"empty and id": func(b *broker) kmsg.DeleteTopicsRequestTopic {
			name := ""
			return kmsg.DeleteTopicsRequestTopic{Topic: &name, TopicID: b.ids[plain]}
		},
		"nothing": func(b *broker) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{} },
		"unknown id": func(b *broker) kmsg.DeleteTopicsRequestTopic {
			return kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{1}}
		},
	} {
		all = append(all, versions(6, 6, "DeleteTopics: "+kind, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 5000
			req.Topics = []kmsg.DeleteTopicsRequestTopic{ask(b)}
			return req
		})...)
	}
	none := missing
	all = append(all, versions(6, 6, "DeleteTopics: a name twice", func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &none}, {Topic: &none}}
		return req
	})...)
	create := func(name string, change func(*kmsg.CreateTopicsRequestTopic)) {
		all = append(all, versions(2, 7, "CreateTopics: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.ValidateOnly, req.TimeoutMillis = true, 5000
			t := kmsg.CreateTopicsRequestTopic{Topic: missing, NumPartitions: 1, ReplicationFactor: 1}
			change(&t)
			req.Topics = []kmsg.CreateTopicsRequestTopic{t}
			return req
		})...)
	}
	one := []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1}}}
	value := func(name, value string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: &value}}
		}
	}
	create("good", func(*kmsg.CreateTopicsRequestTopic) {})
	create("default partitions and replicas", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions, t.ReplicationFactor = -1, -1 })
	create("0 partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 })
	create("-2 partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = -2 })
	create("20000 partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 20_000 })
	create("0 replicas", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 })
	create("2 replicas", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 2 })
	create("-2 replicas", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = -2 })
	create("assignment and partitions", func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicaAssignment = one })
	create("assignment", func(t *kmsg.CreateTopicsRequestTopic) {
		t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, one
	})
	for kind, rows := range map[string][]kmsg.CreateTopicsRequestTopicReplicaAssignment{
		"from 1": {{Partition: 1, Replicas: []int32{1}}}, "elsewhere": {{Replicas: []int32{7}}}, "nowhere": {{}}, "here twice": {{Replicas: []int32{1, 1}}},
		"a partition twice": {{Replicas: []int32{1}}, {Replicas: []int32{1}}}, "negative": {{Partition: -1, Replicas: []int32{1}}},
	} {
		create("assignment "+kind, func(t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, rows
		})
	}
	create("config without a value", func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	})
	for _, x := range configValues {
		create(x[0]+"="+x[1], value(x[0], x[1]))
	}
	all = append(all, versions(2, 7, "CreateTopics: one that exists", func(b *broker) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: plain, NumPartitions: 1, ReplicationFactor: 1}}
		return req
	})...)
	all = append(all, versions(2, 7, "CreateTopics: a name twice", func(b *broker) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: missing, NumPartitions: 1, ReplicationFactor: 1}, {Topic: missing, NumPartitions: 1, ReplicationFactor: 1}}
		return req
	})...)
	partitions := func(name string, count int32, rows ...kmsg.CreatePartitionsRequestTopicAssignment) {
		all = append(all, versions(0, 3, "CreatePartitions: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.TimeoutMillis, req.ValidateOnly = 5000, true
			req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: plain, Count: count, Assignment: rows}}
			return req
		})...)
	}
	here, there := kmsg.CreatePartitionsRequestTopicAssignment{Replicas: []int32{1}}, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: []int32{7}}
	partitions("as many", 1)
	partitions("fewer", 0)
	partitions("negative", -1)
	partitions("more", 2)
	partitions("20000", 20_000)
	partitions("assigned", 2, here)
	partitions("assigned elsewhere", 2, there)
	partitions("assigned too many", 2, here, here)
	partitions("assigned too few", 3, here)
	partitions("assigned nowhere", 2, kmsg.CreatePartitionsRequestTopicAssignment{})
	all = append(all, versions(0, 3, "CreatePartitions: a name twice", func(b *broker) kmsg.Request {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: plain, Count: 2}, {Topic: plain, Count: 2}}
		return req
	})...)
	return all
}

// configValues are configurations of topics that people set, and some that cannot be.
var configValues = [][2]string{
	{"compression.type", "producer"}, {"compression.type", "uncompressed"}, {"compression.type", "gzip"}, {"compression.type", "lz5"},
	{"min.insync.replicas", "1"}, {"min.insync.replicas", "2"}, {"min.insync.replicas", "0"},
	{"leader.replication.throttled.replicas", "*"}, {"leader.replication.throttled.replicas", "0:1,1:1"}, {"leader.replication.throttled.replicas", "x"},
	{"follower.replication.throttled.replicas", "*"}, {"cleanup.policy", ""}, {"cleanup.policy", "compact,delete"}, {"cleanup.policy", "x"},
	{"retention.ms", "-1"}, {"retention.ms", "-2"}, {"retention.ms", " 5 "}, {"retention.ms", "x"}, {"retention.bytes", "-2"},
	{"segment.bytes", "1024"}, {"segment.bytes", "1048576"}, {"segment.ms", "0"}, {"max.message.bytes", "-1"}, {"max.message.bytes", "0"},
	{"message.timestamp.type", "x"}, {"message.timestamp.after.max.ms", "9223372036854775807"}, {"message.timestamp.before.max.ms", "-1"},
	{"min.cleanable.dirty.ratio", "2"}, {"preallocate", "yes"}, {"preallocate", "TRUE"}, {"unclean.leader.election.enable", "true"},
	{"remote.storage.enable", "true"}, {"remote.storage.enable", "false"}, {"local.retention.ms", "-2"}, {"local.retention.ms", "5"}, {"local.retention.bytes", "-2"},
	{"remote.log.copy.disable", "true"}, {"remote.log.delete.on.disable", "true"}, {"message.format.version", "3.0"}, {"message.downconversion.enable", "true"},
	{"index.interval.bytes", "-1"}, {"flush.messages", "0"}, {"delete.retention.ms", "-1"}, {"min.compaction.lag.ms", "-1"}, {"max.compaction.lag.ms", "0"},
	{"file.delete.delay.ms", "-1"}, {"segment.jitter.ms", "-1"}, {"segment.index.bytes", "3"}, {"compression.gzip.level", "0"}, {"compression.zstd.level", "30"},
	{"no.such", "x"},
}

func listOffsets(topic string, partition int32, timestamp int64) kmsg.Request {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis = -1, 5000
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return req
}

func fetch(b *broker, topic string, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 0, 0, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: b.ids[topic], Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}

func commit(group, topic string, generation int32, member string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = group, generation, member
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func offsetQuestions() (all []question) {
	for timestamp := int64(-1); timestamp >= -8; timestamp-- {
		all = append(all, versions(1, 11, fmt.Sprintf("ListOffsets: timestamp %d", timestamp), func(b *broker) kmsg.Request { return listOffsets(compacted, 0, timestamp) })...)
	}
	all = append(all, versions(1, 11, "ListOffsets: timestamp 5", func(b *broker) kmsg.Request { return listOffsets(compacted, 0, 5) })...)
	for _, partition := range []int32{-1, 1} {
		all = append(all, versions(1, 11, fmt.Sprintf("ListOffsets: partition %d", partition), func(b *broker) kmsg.Request { return listOffsets(plain, partition, -1) })...)
	}
	all = append(all, versions(1, 11, "ListOffsets: a partition twice", func(b *broker) kmsg.Request {
		req := listOffsets(compacted, 0, -1).(*kmsg.ListOffsetsRequest)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		return req
	})...)
	for _, epoch := range []int32{0, 5} {
		all = append(all, versions(4, 11, fmt.Sprintf("ListOffsets: leader epoch %d", epoch), func(b *broker) kmsg.Request {
			req := listOffsets(compacted, 0, -1).(*kmsg.ListOffsetsRequest)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = b.epoch + epoch
			return req
		})...)
	}
	all = append(all, versions(1, 11, "ListOffsets: isolation 7", func(b *broker) kmsg.Request {
		req := listOffsets(compacted, 0, -1).(*kmsg.ListOffsetsRequest)
		req.IsolationLevel = 7
		return req
	})...)
	odd := func(name string, change func(*kmsg.FetchRequest)) {
		all = append(all, versions(4, 18, "Fetch: "+name, func(b *broker) kmsg.Request {
			req := fetch(b, compacted, 0)
			change(req)
			for i := range req.Topics {
				p := &req.Topics[i].Partitions[0]
				p.CurrentLeaderEpoch, p.LastFetchedEpoch = b.later(p.CurrentLeaderEpoch), b.later(p.LastFetchedEpoch)
			}
			return req
		})...)
	}
	odd("good", func(*kmsg.FetchRequest) {})
	odd("offset 5", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 5 })
	odd("offset -1", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = -1 })
	odd("partition 1", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 1 })
	odd("leader epoch 5", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 })
	odd("last fetched epoch 5", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 5 })
	odd("no topics", func(r *kmsg.FetchRequest) { r.Topics = nil })
	odd("session epoch 3", func(r *kmsg.FetchRequest) { r.SessionID, r.SessionEpoch = 77, 3 })
	odd("session epoch -5", func(r *kmsg.FetchRequest) { r.SessionID, r.SessionEpoch = 77, -5 })
	odd("isolation 1", func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })
	odd("isolation 7", func(r *kmsg.FetchRequest) { r.IsolationLevel = 7 })
	odd("unknown id", func(r *kmsg.FetchRequest) { r.Topics[0].TopicID = [16]byte{1} })
	odd("zero id", func(r *kmsg.FetchRequest) { r.Topics[0].TopicID = [16]byte{} })
	records := func(name string, partition int32, offset int64) {
		all = append(all, versions(0, 2, "DeleteRecords: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.TimeoutMillis = 5000
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: stamped, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
			return req
		})...)
	}
	all = append(all, produce("for DeleteRecords", 9, stamped, batch(record(0, 0, nil, nil), 1, nil)))
	records("beyond the end", 0, 5)
	records("offset -2", 0, -2)
	records("partition 1", 1, 0)
	records("nothing", 0, 0)
	records("all", 0, -1)
	all = append(all, versions(7, 11, "ListOffsets: largest timestamp after DeleteRecords to the end", func(b *broker) kmsg.Request { return listOffsets(stamped, 0, -3) })...)
	all = append(all, versions(1, 11, "ListOffsets: timestamp 5 after DeleteRecords to the end", func(b *broker) kmsg.Request { return listOffsets(stamped, 0, 5) })...)
	all = append(all, versions(1, 11, "ListOffsets: earliest after DeleteRecords to the end", func(b *broker) kmsg.Request { return listOffsets(stamped, 0, -2) })...)
	for _, epoch := range []int32{-5, -1, 0, 5} {
		for _, current := range []int32{-1, 0, 5} {
			all = append(all, versions(2, 4, fmt.Sprintf("OffsetForLeaderEpoch: %d, current %d", epoch, current), func(b *broker) kmsg.Request {
				req := kmsg.NewPtrOffsetForLeaderEpochRequest()
				req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: compacted, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{LeaderEpoch: b.later(epoch), CurrentLeaderEpoch: b.later(current)}}}}
				return req
			})...)
		}
	}
	initID := func(name string, change func(*kmsg.InitProducerIDRequest)) {
		all = append(all, versions(0, 5, "InitProducerId: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.TransactionTimeoutMillis = 60_000
			change(req)
			return req
		})...)
	}
	initID("good", func(*kmsg.InitProducerIDRequest) {})
	initID("id without epoch", func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 })
	initID("epoch without id", func(r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 5 })
	initID("id and epoch", func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = 5, 5 })
	initID("timeout -1", func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = -1 })
	return all
}

func groupQuestions() (all []question) {
	for _, generation := range []int32{0, 5} {
		all = append(all, versions(2, 9, fmt.Sprintf("OffsetCommit: no such group, generation %d", generation), func(b *broker) kmsg.Request { return commit(ghost, plain, generation, "m") })...)
	}
	for _, generation := range []int32{-1, 0, 5} {
		for _, member := range []string{"", "m"} {
			for _, group := range []string{"", unknown} {
				name := fmt.Sprintf("group %.7q, generation %d, member %q", group, generation, member)
				group := group
				if generation == -1 && member == "" && group != "" {
					group = simple
				}
				all = append(all, versions(2, 10, "OffsetCommit: "+name, func(b *broker) kmsg.Request {
					req := commit(group, plain, generation, member)
					req.Topics[0].TopicID = b.ids[plain]
					return req
				})...)
				all = append(all, versions(0, 4, "Heartbeat: "+name, func(b *broker) kmsg.Request {
					req := kmsg.NewPtrHeartbeatRequest()
					req.Group, req.Generation, req.MemberID = group, generation, member
					return req
				})...)
				all = append(all, versions(0, 5, "SyncGroup: "+name, func(b *broker) kmsg.Request {
					req := kmsg.NewPtrSyncGroupRequest()
					req.Group, req.Generation, req.MemberID = group, generation, member
					return req
				})...)
				kind := "consumer"
				all = append(all, versions(5, 5, "SyncGroup with a protocol type: "+name, func(b *broker) kmsg.Request {
					req := kmsg.NewPtrSyncGroupRequest()
					req.Group, req.Generation, req.MemberID, req.ProtocolType, req.Protocol = group, generation, member, &kind, &kind
					return req
				})...)
			}
		}
	}
	for _, group := range []string{"", unknown, simple, ghost} {
		for _, member := range []string{"", "m"} {
			all = append(all, versions(0, 5, fmt.Sprintf("LeaveGroup: group %.7q, member %q", group, member), func(b *broker) kmsg.Request {
				req := kmsg.NewPtrLeaveGroupRequest()
				req.Group, req.MemberID = group, member
				m := kmsg.NewLeaveGroupRequestMember()
				m.MemberID = member
				req.Members = []kmsg.LeaveGroupRequestMember{m}
				return req
			})...)
		}
		all = append(all, versions(1, 10, fmt.Sprintf("OffsetFetch: group %.7q", group), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group = group
			req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: plain, Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}}
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = group
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: plain, TopicID: b.ids[plain], Partitions: []int32{0, 9}}, {Topic: missing, TopicID: [16]byte{1}, Partitions: []int32{0}}}
			req.Groups = []kmsg.OffsetFetchRequestGroup{g}
			return req
		})...)
		all = append(all, versions(2, 10, fmt.Sprintf("OffsetFetch: all of group %.7q", group), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group = group
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = group
			req.Groups = []kmsg.OffsetFetchRequestGroup{g}
			return req
		})...)
		for _, operations := range []bool{false, true} {
			all = append(all, versions(0, 6, fmt.Sprintf("DescribeGroups: %.7q, operations %v", group, operations), func(b *broker) kmsg.Request {
				req := kmsg.NewPtrDescribeGroupsRequest()
				req.Groups, req.IncludeAuthorizedOperations = []string{group}, operations
				return req
			})...)
		}
		all = append(all, versions(0, 0, fmt.Sprintf("OffsetDelete: %.7q", group), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = group
			req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: plain, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 9}}},
				{Topic: missing, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
			return req
		})...)
		all = append(all, versions(0, 0, fmt.Sprintf("OffsetDelete: nothing of %.7q", group), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = group
			return req
		})...)
	}
	for _, group := range []string{"", ghost, unknown} {
		all = append(all, versions(0, 2, fmt.Sprintf("DeleteGroups: %.7q", group), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDeleteGroupsRequest()
			req.Groups = []string{group}
			return req
		})...)
	}
	join := func(name string, change func(*kmsg.JoinGroupRequest)) {
		all = append(all, versions(0, 9, "JoinGroup: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = joining, 10_000, 10_000, "consumer"
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{1}}}
			change(req)
			return req
		})...)
	}
	join("empty group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
	join("unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "m" })
	join("no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
	join("no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	join("session timeout 1", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 })
	join("session timeout 1 h", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 3600_000 })
	for kind := int8(-1); kind <= 3; kind++ {
		for _, key := range []string{"", "k"} {
			all = append(all, versions(0, 6, fmt.Sprintf("FindCoordinator: kind %d, key %q", kind, key), func(b *broker) kmsg.Request {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, key, []string{key}
				return req
			})...)
		}
	}
	for _, states := range [][]string{{"Nonsense"}} {
		all = append(all, versions(4, 5, fmt.Sprintf("ListGroups: state %v", states), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter = states
			return req
		})...)
	}
	for _, types := range [][]string{{"consumer"}, {"Nonsense"}} {
		all = append(all, versions(5, 5, fmt.Sprintf("ListGroups: type %v", types), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrListGroupsRequest()
			req.TypesFilter = types
			return req
		})...)
	}
	for _, operations := range []bool{false, true} {
		all = append(all, versions(8, 13, fmt.Sprintf("Metadata: operations %v", operations), func(b *broker) kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			name, none := plain, missing
			req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = operations, operations
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}, {Topic: &none}}
			return req
		})...)
		for kind := int8(0); kind <= 3; kind++ {
			all = append(all, versions(0, 2, fmt.Sprintf("DescribeCluster: operations %v, endpoints %d", operations, kind), func(b *broker) kmsg.Request {
				req := kmsg.NewPtrDescribeClusterRequest()
				req.IncludeClusterAuthorizedOperations, req.EndpointType = operations, kind
				return req
			})...)
		}
	}
	return all
}

func configQuestions() (all []question) {
	describe := func(name string, resources ...kmsg.DescribeConfigsRequestResource) {
		all = append(all, versions(1, 4, "DescribeConfigs: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrDescribeConfigsRequest()
			req.Resources = resources
			return req
		})...)
	}
	resource := func(kind kmsg.ConfigResourceType, name string, names ...string) kmsg.DescribeConfigsRequestResource {
		return kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: name, ConfigNames: names}
	}
	describe("a topic", resource(2, plain))
	describe("no names of a topic", kmsg.DescribeConfigsRequestResource{ResourceType: 2, ResourceName: plain, ConfigNames: []string{}})
	describe("an unknown name of a topic", resource(2, plain, "no.such"))
	describe("a topic with LogAppendTime", resource(2, stamped, "message.timestamp.type"))
	describe("broker 7", resource(4, "7"))
	describe("broker x", resource(4, "x"))
	describe("default.replication.factor of the broker", resource(4, "1", "default.replication.factor"))
	describe("brokers", resource(4, ""))
	describe("kind 0", resource(0, "x"))
	describe("kind 99", resource(99, "x"))
	describe("a logger", resource(8, "1", "x"))
	describe("client metrics", resource(16, "x"))
	describe("a group", resource(32, "g"))
	describe("group ''", resource(32, ""))
	describe("a topic twice", resource(2, plain, "retention.ms"), resource(2, plain, "retention.ms"))

	alter := func(name string, validate bool, resources ...kmsg.IncrementalAlterConfigsRequestResource) {
		all = append(all, versions(0, 1, "IncrementalAlterConfigs: "+name, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.ValidateOnly, req.Resources = validate, resources
			return req
		})...)
	}
	set := func(kind kmsg.ConfigResourceType, resource, name, value string, op kmsg.IncrementalAlterConfigOp) kmsg.IncrementalAlterConfigsRequestResource {
		return kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: resource,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Op: op, Value: &value}}}
	}
	for _, x := range configValues {
		alter(x[0]+"="+x[1], true, set(2, plain, x[0], x[1], 0))
	}
	alter("append to a number", true, set(2, plain, "retention.ms", "5", 2))
	alter("append compact", true, set(2, plain, "cleanup.policy", "compact", 2))
	alter("append throttled replicas", true, set(2, plain, "leader.replication.throttled.replicas", "0:1", 2))
	alter("subtract delete", true, set(2, plain, "cleanup.policy", "delete", 3))
	alter("operation 9", true, set(2, plain, "retention.ms", "5", 9))
	alter("delete unknown", true, set(2, plain, "no.such", "", 1))
	alter("a broker", true, set(4, "1", "log.retention.ms", "5", 0))
	alter("delete a throttle of a broker", true, set(4, "1", "leader.replication.throttled.rate", "", 1))
	alter("delete a throttle of broker 7", true, set(4, "7", "leader.replication.throttled.rate", "", 1))
	alter("broker 7", true, set(4, "7", "log.retention.ms", "5", 0))
	alter("kind 99", true, set(99, "x", "log.retention.ms", "5", 0))
	alter("kind 0", true, set(0, "x", "log.retention.ms", "5", 0))
	alter("a logger", true, set(8, "1", "x", "DEBUG", 0))
	alter("a topic twice", true, set(2, plain, "retention.ms", "5", 0), set(2, plain, "retention.ms", "5", 0))
	alter("no value", true, kmsg.IncrementalAlterConfigsRequestResource{ResourceType: 2, ResourceName: plain,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms"}}})
	alter("nothing", true, kmsg.IncrementalAlterConfigsRequestResource{ResourceType: 2, ResourceName: plain})
	for _, x := range configValues {
		all = append(all, versions(0, 2, "AlterConfigs: "+x[0]+"="+x[1], func(b *broker) kmsg.Request {
			req := kmsg.NewPtrAlterConfigsRequest()
			req.ValidateOnly = true
			req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: plain,
				Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: x[0], Value: &x[1]}}}}
			return req
		})...)
	}
	alter("min.insync.replicas=2 for good", false, set(2, plain, "min.insync.replicas", "2", 0))
	for _, acks := range []int16{-1, 0, 1} {
		if acks == 0 {
			continue
		}
		all = append(all, versions(3, 12, fmt.Sprintf("Produce: min.insync.replicas=2, acks %d", acks), func(b *broker) kmsg.Request {
			req := produce("", 9, plain, batch(record(0, 0, nil, nil), 1, nil)).ask(b).(*kmsg.ProduceRequest)
			req.Acks = acks
			return req
		})...)
	}
	alter("compression.type=gzip for good", false, set(2, plain, "compression.type", "gzip", 0))
	describe("after that", resource(2, plain, "min.insync.replicas", "compression.type"))
	return all
}

func cheapQuestions() (all []question) {
	ask := func(name string, from, to int16, make func(b *broker) kmsg.Request) {
		all = append(all, versions(from, to, name, make)...)
	}
	ask("DescribeLogDirs: a topic", 1, 4, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: plain, Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}}
		return req
	})
	ask("DescribeLogDirs: nothing", 1, 4, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		return req
	})
	ask("AlterReplicaLogDirs", 1, 2, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/nowhere", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: plain, Partitions: []int32{0}}}}}
		return req
	})
	for kind, replicas := range map[string][]int32{"here": {1}, "elsewhere": {7}, "cancel": nil, "nowhere": {}} {
		for _, topic := range []string{plain, missing} {
			ask(fmt.Sprintf("AlterPartitionReassignments: %.5s %s", topic, kind), 0, 1, func(b *broker) kmsg.Request {
				req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
				req.TimeoutMillis = 5000
				req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: replicas}, {Partition: 9, Replicas: replicas}}}}
				return req
			})
		}
	}
	ask("ListPartitionReassignments: all", 0, 0, func(b *broker) kmsg.Request { return kmsg.NewPtrListPartitionReassignmentsRequest() })
	ask("ListPartitionReassignments: topics", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: plain, Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}}
		return req
	})
	for kind := int8(0); kind <= 2; kind++ {
		ask(fmt.Sprintf("ElectLeaders: kind %d", kind), 0, 2, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrElectLeadersRequest()
			req.ElectionType, req.TimeoutMillis = kind, 5000
			req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: plain, Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}}
			return req
		})
	}
	ask("DescribeClientQuotas: all", 0, 1, func(b *broker) kmsg.Request { return kmsg.NewPtrDescribeClientQuotasRequest() })
	ask("DescribeClientQuotas: user", 0, 1, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2}}
		return req
	})
	ask("DescribeClientQuotas: nonsense", 0, 1, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "x", MatchType: 2}}
		return req
	})
	ask("AlterClientQuotas", 0, 1, func(b *broker) kmsg.Request {
		req, user := kmsg.NewPtrAlterClientQuotasRequest(), "u"
		req.ValidateOnly = true
		req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}}, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1000}}}}
		return req
	})
	ask("DescribeUserScramCredentials: all", 0, 0, func(b *broker) kmsg.Request { return kmsg.NewPtrDescribeUserSCRAMCredentialsRequest() })
	ask("DescribeUserScramCredentials: a user", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		req.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "u"}, {Name: ""}}
		return req
	})
	ask("AlterUserScramCredentials: delete", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "u", Mechanism: 1}}
		return req
	})
	ask("DescribeAcls", 1, 3, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
		return req
	})
	ask("CreateAcls", 1, 3, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrCreateACLsRequest()
		req.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: 2, ResourceName: "t", ResourcePatternType: 3, Principal: "User:u", Host: "*", Operation: 3, PermissionType: 3}}
		return req
	})
	ask("DeleteAcls", 1, 3, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDeleteACLsRequest()
		req.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1}}
		return req
	})
	ask("DescribeQuorum v", 0, 2, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		return req
	})
	ask("DescribeQuorum: another topic", 0, 2, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: plain, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		return req
	})
	ask("DescribeQuorum: nothing", 0, 2, func(b *broker) kmsg.Request { return kmsg.NewPtrDescribeQuorumRequest() })
	for _, level := range []int16{0, 1, 99} {
		for _, feature := range []string{"metadata.version", "no.such", "group.version"} {
			ask(fmt.Sprintf("UpdateFeatures: %s=%d", feature, level), 0, 2, func(b *broker) kmsg.Request {
				req := kmsg.NewPtrUpdateFeaturesRequest()
				req.TimeoutMillis, req.ValidateOnly = 5000, true
				u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
				u.Feature, u.MaxVersionLevel, u.UpgradeType, u.AllowDowngrade = feature, level, 1, false
				req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{u}
				return req
			})
		}
	}
	ask("UpdateFeatures: nothing", 0, 2, func(b *broker) kmsg.Request { return kmsg.NewPtrUpdateFeaturesRequest() })
	ask("DescribeProducers", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: compacted, Partitions: []int32{0, 9}}, {Topic: missing, Partitions: []int32{0}}, {Topic: "a/b", Partitions: []int32{0}}}
		return req
	})
	ask("UnregisterBroker", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = 7
		return req
	})
	ask("ListConfigResources: all", 0, 0, func(b *broker) kmsg.Request { return kmsg.NewPtrListConfigResourcesRequest() })
	for _, kind := range []int8{0, 4, 8, 16, 32, 99} {
		ask(fmt.Sprintf("ListConfigResources: kind %d", kind), 1, 1, func(b *broker) kmsg.Request {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = []int8{kind}
			return req
		})
	}
	ask("DescribeTopicPartitions", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 2000
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: plain}, {Topic: missing}, {Topic: "a/b"}, {Topic: compacted}, {Topic: plain}}
		return req
	})
	ask("DescribeTopicPartitions: at most one", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 1
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: plain}, {Topic: compacted}}
		return req
	})
	ask("DescribeTopicPartitions: from a cursor", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 10
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: plain}, {Topic: compacted}}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: plain}
		return req
	})
	ask("DescribeTopicPartitions: from a cursor beyond", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 10
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: plain}, {Topic: compacted}}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: plain, Partition: -1}
		return req
	})
	ask("DescribeTopicPartitions: limit 0", 0, 0, func(b *broker) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: plain}}
		return req
	})
	return all
}

func produceQuestions() []question {
	one := record(0, 0, []byte("k"), []byte("v"))
	two := append(bytes.Clone(one), record(1, 0, []byte("k"), []byte("v"))...)
	codec := func(c int16, block []byte) func(*kmsg.RecordBatch) {
		return func(b *kmsg.RecordBatch) { b.Attributes |= c; b.Records = block }
	}
	all := []question{
		produce("good", 9, plain, batch(two, 2, nil)),
		produce("good gzip", 9, plain, batch(two, 2, codec(1, zipped(two)))),
		produce("gzip that is none", 9, plain, batch(two, 2, codec(1, two))),
		produce("gzip cut", 9, plain, batch(two, 2, codec(1, zipped(two)[:20]))),
		produce("gzip cut in the trailer", 9, plain, batch(two, 2, codec(1, zipped(two)[:len(zipped(two))-2]))),
		produce("snappy that is none", 9, plain, batch(two, 2, codec(2, two))),
		produce("lz4 that is none", 9, plain, batch(two, 2, codec(3, two))),
		produce("zstd that is none", 9, plain, batch(two, 2, codec(4, two))),
		produce("codec 5", 9, plain, batch(two, 2, codec(5, two))),
		produce("codec 7", 9, plain, batch(two, 2, codec(7, two))),
		produce("zstd in v6", 6, plain, batch(two, 2, codec(4, two))),
		produce("gzip of 2^31-1 records", 9, plain, batch(two, 1<<31-1, codec(1, zipped(two)))),
		produce("gzip, a record less than counted", 9, plain, batch(two, 3, codec(1, zipped(two)))),
		produce("gzip, a record more than counted", 9, plain, batch(two, 1, codec(1, zipped(two)))),
		produce("gzip, offsets 0 and 0", 9, plain, batch(nil, 2, codec(1, zipped(append(bytes.Clone(one), one...))))),
		produce("a record less than counted", 9, plain, batch(two, 3, nil)),
		produce("a record more than counted", 9, plain, batch(two, 1, nil)),
		produce("offsets 0 and 0", 9, plain, batch(append(bytes.Clone(one), one...), 2, nil)),
		produce("offset 5", 9, plain, batch(record(5, 0, nil, nil), 1, nil)),
		produce("records do not decode", 9, plain, batch(bytes.Repeat([]byte{0xff}, 20), 2, nil)),
		produce("record cut", 9, plain, batch(one[:len(one)-1], 1, nil)),
		produce("no record", 9, plain, batch(nil, 0, nil)),
		produce("last offset delta 5 of 2", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 })),
		produce("last offset delta -5", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.LastOffsetDelta = -5 })),
		produce("base offset 7", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.FirstOffset = 7 })),
		produce("leader epoch 7", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.PartitionLeaderEpoch = 7 })),
		produce("log append time", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 8 })),
		produce("log append time on stamped", 9, stamped, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 8 })),
		produce("gzip log append time", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 9; b.Records = zipped(two) })),
		produce("control", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 32 })),
		produce("delete horizon", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 64 })),
		produce("unknown attributes", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 0x4000 })),
		produce("transactional without producer", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Attributes |= 16 })),
		produce("producer id -2", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.ProducerID = -2 })),
		produce("producer without sequence", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 1<<40, 0 })),
		produce("producer without epoch", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.ProducerID, b.FirstSequence = 1<<40, 0 })),
		produce("magic 0", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Magic = 0 })),
		produce("magic 1", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Magic = 1 })),
		produce("magic 3", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Magic = 3 })),
		produce("magic -1", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.Magic = -1 })),
		produce("bytes after the batch", 9, plain, append(batch(two, 2, nil), 0, 0, 0)),
		produce("60 bytes after the batch", 9, plain, append(batch(two, 2, nil), make([]byte, 60)...)),
		produce("two batches", 9, plain, append(batch(two, 2, nil), batch(two, 2, nil)...)),
		produce("half a batch after the batch", 9, plain, append(batch(two, 2, nil), batch(two, 2, nil)[:40]...)),
		produce("checksum", 9, plain, wrong(batch(two, 2, nil), 17)),
		produce("length too large", 9, plain, wrong(batch(two, 2, nil), 11)),
		produce("length 0", 9, plain, append(make([]byte, 12), batch(two, 2, nil)[12:]...)),
		produce("cut batch", 9, plain, batch(two, 2, nil)[:70]),
		produce("cut header", 9, plain, batch(two, 2, nil)[:40]),
		produce("empty records", 9, plain, []byte{}),
		produce("null records", 9, plain, nil),
		produce("without key on compacted", 9, compacted, batch(record(0, 0, nil, nil), 1, nil)),
		produce("without key on compacted", 3, compacted, batch(record(0, 0, nil, nil), 1, nil)),
		produce("gzip without key on compacted", 9, compacted, batch(nil, 1, codec(1, zipped(record(0, 0, nil, nil))))),
		produce("two hours ahead", 9, plain, batch(record(0, 2*3600_000, nil, nil), 1, nil)),
		produce("max timestamp two hours ahead, records not", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.MaxTimestamp += 2 * 3600_000 })),
		produce("gzip two hours ahead", 9, plain, batch(nil, 1, codec(1, zipped(record(0, 2*3600_000, nil, nil))))),
		produce("no timestamp", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -1, -1 })),
		produce("timestamp -2", 9, plain, batch(two, 2, func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -2, -2 })),
		produce("empty topic", 9, "", batch(two, 2, nil)),
		produce("invalid topic", 9, "a/b", batch(two, 2, nil)),
		produce("missing topic", 9, missing, batch(two, 2, nil)),
		produce("missing topic", 13, missing, batch(two, 2, nil)),
		produce("acks 2", 9, plain, batch(two, 2, nil)),
		produce("v2", 2, plain, batch(two, 2, nil)),
	}
	return all
}

// wrong returns b with another byte at position at.
func wrong(b []byte, at int) []byte {
	b[at] ^= 0x55
	return b
}
