package kafka

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/meta"
)

// sessionClient fetches by a session, and remembers what it was told.
type sessionClient struct {
	*rawClient
	version   int16
	id, epoch int32
	told      map[toldKey]string
}

// toldKey is a partition, by name and id of its topic, of which one is in a request.
type toldKey struct {
	name      string
	id        meta.TopicID
	partition int32
}

// keyOf returns the key of a partition as requests of the client's version name it.
func (c *sessionClient) keyOf(t meta.Topic, partition int32) toldKey {
	if c.version >= 13 {
		return toldKey{id: t.ID, partition: partition}
	}
	return toldKey{name: t.Name, partition: partition}
}

// request returns a Fetch that adds the partitions in add, from the offsets there, and forgets those in drop.
func (c *sessionClient) request(add map[toldKey]int64, drop ...toldKey) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionID, req.SessionEpoch = 1<<20, c.id, c.epoch
	for key, offset := range add {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = key.partition, offset, 1<<20
		req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: key.name, TopicID: key.id, Partitions: []kmsg.FetchRequestTopicPartition{p}})
	}
	for _, key := range drop {
		req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: key.name, TopicID: key.id, Partitions: []int32{key.partition}})
		delete(c.told, key)
	}
	return req
}

// fetch sends req, moves on to the next epoch, and returns the partitions of the response.
func (c *sessionClient) fetch(req *kmsg.FetchRequest) (rows map[toldKey]kmsg.FetchResponseTopicPartition) {
	c.t.Helper()
	got := roundTrip[*kmsg.FetchResponse](c.rawClient, req, c.version)
	if got.ErrorCode != none || got.SessionID == 0 || c.id != 0 && got.SessionID != c.id {
		c.t.Fatalf("v%d: error %d, session %d after %d", c.version, got.ErrorCode, got.SessionID, c.id)
	}
	c.id, c.epoch = got.SessionID, c.epoch+1
	rows = map[toldKey]kmsg.FetchResponseTopicPartition{}
	for _, t := range got.Topics {
		for _, p := range t.Partitions {
			key := toldKey{t.Topic, t.TopicID, p.Partition}
			rows[key] = p
			c.told[key] = bounds(p)
		}
	}
	return rows
}

// bounds returns what a response says of a partition, without records.
func bounds(p kmsg.FetchResponseTopicPartition) string {
	return fmt.Sprintf("error %d, %d to %d (%d)", p.ErrorCode, p.LogStartOffset, p.HighWatermark, p.LastStableOffset)
}

// TestFetchSessionOnTheWire begins a session, sees what its responses leave out, and is refused with each of its errors.
func TestFetchSessionOnTheWire(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 100)
	producer := h.dial()
	for _, version := range []int16{7, 11, 12, 13, 18} {
		c := &sessionClient{rawClient: h.dial(), version: version, told: map[toldKey]string{}}
		all := map[toldKey]int64{}
		for p := range topic.Partitions {
			all[c.keyOf(topic, p)] = h.end(topic, p)
		}
		if got := c.fetch(c.request(all)); len(got) != 100 {
			t.Fatalf("v%d: the full fetch has %d partitions", version, len(got))
		}
		if got := c.fetch(c.request(nil)); len(got) != 0 {
			t.Errorf("v%d: nothing has changed, and %d partitions are answered", version, len(got))
		}
		three, end := c.keyOf(topic, 3), h.end(topic, 3)
		roundTrip[*kmsg.ProduceResponse](producer, produceTo(topic, 3, records("x")), 9)
		if got := c.fetch(c.request(nil)); len(got) != 1 || len(got[three].RecordBatches) == 0 || got[three].HighWatermark != end+1 {
			t.Errorf("v%d: one partition has records: %v", version, got)
		}
		if got := c.fetch(c.request(map[toldKey]int64{three: end + 1})); len(got) != 0 {
			t.Errorf("v%d: a partition whose records were taken is answered: %v", version, got)
		}

		refused := func(what string, req *kmsg.FetchRequest, version int16, want Code) {
			t.Helper()
			if got := roundTrip[*kmsg.FetchResponse](c.rawClient, req, version); got.ErrorCode != want || got.SessionID != 0 || len(got.Topics) != 0 {
				t.Errorf("v%d: %s: error %d, session %d, %d topics, want error %d", version, what, got.ErrorCode, got.SessionID, len(got.Topics), want)
			}
		}
		again := c.request(nil)
		again.SessionEpoch--
		refused("an epoch again", again, version, invalidFetchSessionEpoch)
		other := c.request(nil)
		other.SessionID = max(c.id-1, 1)
		if other.SessionID == c.id {
			other.SessionID++
		}
		refused("another session", other, version, fetchSessionIDNotFound)
		refused("names and ids mixed", c.request(nil), map[bool]int16{true: 12, false: 13}[version >= 13], fetchSessionTopicIDError)
		c.fetch(c.request(nil)) // an error leaves the session as it is

		stranger := *c
		stranger.rawClient = h.dial()
		if got := roundTrip[*kmsg.FetchResponse](stranger.rawClient, c.request(nil), version); got.ErrorCode != fetchSessionIDNotFound {
			t.Errorf("v%d: on another connection: error %d", version, got.ErrorCode)
		}
		end0 := c.request(map[toldKey]int64{three: end})
		end0.SessionEpoch = finalEpoch
		if got := roundTrip[*kmsg.FetchResponse](c.rawClient, end0, version); got.ErrorCode != none || got.SessionID != 0 || len(got.Topics) != 1 {
			t.Errorf("v%d: the last fetch: %+v", version, got)
		}
		refused("a session that was ended", c.request(nil), version, fetchSessionIDNotFound)

		c.id, c.epoch = 0, 0
		c.fetch(c.request(all))
		var keys []toldKey
		for key := range all {
			keys = append(keys, key)
		}
		empty := c.request(nil, keys...)
		if got := roundTrip[*kmsg.FetchResponse](c.rawClient, empty, version); got.ErrorCode != none || got.SessionID != 0 || len(got.Topics) != 0 {
			t.Errorf("v%d: a session that forgets all: %+v", version, got)
		}
	}
}

// TestFetchSessionEndsWithItsConnection counts the sessions that are left when connections have ended.
func TestFetchSessionEndsWithItsConnection(t *testing.T) {
	h := newTestServer(t, func(c *Config) { c.MaxFetchSessions = 2 })
	topic := h.topic("orders", 1)
	begin := func() (*rawClient, int32) {
		w, req := h.dial(), fetchFrom(topic, 0, 0, 0)
		req.SessionEpoch = initialEpoch
		got := roundTrip[*kmsg.FetchResponse](w, req, 12)
		if got.ErrorCode != none || len(got.Topics) != 1 {
			t.Errorf("%+v", got)
		}
		return w, got.SessionID
	}
	first, id1 := begin()
	_, id2 := begin()
	if _, id := begin(); id1 == 0 || id2 == 0 || id != 0 {
		t.Errorf("sessions %d, %d and %d, where there is room for two", id1, id2, id)
	}
	first.net.Close()
	eventually(t, "the session to end", func() bool { n, _ := h.server.fetchSessions.inUse(); return n == 1 })
	if _, id := begin(); id == 0 {
		t.Error("there is no session in the place of one whose connection has ended")
	}
}

// TestFetchSessionSlotsAreDescribed asks the broker for the configuration that says how many sessions there may be.
func TestFetchSessionSlotsAreDescribed(t *testing.T) {
	const slots = "max.incremental.fetch.session.cache.slots"
	for _, x := range []struct {
		maxSessions int // 0: the default
		value       string
		source      kmsg.ConfigSource
	}{
		{0, "1000", kmsg.ConfigSourceDefaultConfig},
		{7, "7", kmsg.ConfigSourceStaticBrokerConfig},
	} {
		h := newTestServer(t, func(c *Config) { c.MaxFetchSessions = x.maxSessions })
		req := kmsg.NewPtrDescribeConfigsRequest()
		broker := kmsg.NewDescribeConfigsRequestResource()
		broker.ResourceType, broker.ResourceName, broker.ConfigNames = kmsg.ConfigResourceTypeBroker, "1", []string{slots}
		req.Resources = append(req.Resources, broker)
		got := roundTrip[*kmsg.DescribeConfigsResponse](h.dial(), req, 4).Resources[0].Configs
		if len(got) != 1 || got[0].Name != slots || *got[0].Value != x.value || got[0].Source != x.source || !got[0].ReadOnly {
			t.Errorf("with MaxFetchSessions %d: %+v", x.maxSessions, got)
		}
	}
}

// TestFetchSessionWaits has an incremental fetch wait for records, and no longer.
func TestFetchSessionWaits(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 3)
	c := &sessionClient{rawClient: h.dial(), version: 13, told: map[toldKey]string{}}
	c.fetch(c.request(map[toldKey]int64{c.keyOf(topic, 0): 0, c.keyOf(topic, 1): 0, c.keyOf(topic, 2): 0}))
	req := c.request(nil)
	req.MaxWaitMillis, req.MinBytes = int32(patience.Milliseconds()), 1
	req.SetVersion(13)
	correlation := c.send(req)
	eventually(t, "the fetch to wait", func() bool { return h.requestsInWork() == 1 })
	roundTrip[*kmsg.ProduceResponse](h.dial(), produceTo(topic, 1, records("x")), 9)
	got := receive[*kmsg.FetchResponse](c.rawClient, req, correlation)
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || got.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("%+v", got.Topics)
	}
}

// end returns the high watermark of a partition.
func (h *testServer) end(topic meta.Topic, partition int32) int64 {
	h.t.Helper()
	listed, err := h.engine.OffsetFor(engine.Partition{Topic: topic.ID, Index: partition}, engine.Latest)
	if err != nil {
		h.t.Fatal(err)
	}
	return listed.Offset
}

// TestFetchSessionsLikeFullFetches makes random incremental fetches while records are appended and deleted, and topics
// deleted and made again. After each, what the client was told of its partitions is what a full fetch says of them, and
// the records are the same.
func TestFetchSessionsLikeFullFetches(t *testing.T) {
	rng := seeded(t)
	h := newTestServer(t)
	full := h.dial()
	for _, version := range []int16{7, 9, 12, 13, 15, 18} {
		c := &sessionClient{rawClient: h.dial(), version: version, told: map[toldKey]string{}}
		topics := map[string]meta.Topic{}
		make := func(name string) {
			topics[name] = h.topic(fmt.Sprintf("%s-%d", name, version), 1+rng.Int32N(4))
		}
		names := []string{"orders", "returns", "stock"}
		for _, name := range names {
			make(name)
		}
		wanted := map[toldKey]int64{} // offsets
		for step := range 300 {
			name := names[rng.IntN(len(names))]
			topic := topics[name]
			switch partition := rng.Int32N(topic.Partitions); rng.IntN(12) {
			case 0:
				if err := h.engine.DeleteTopic(t.Context(), topic.ID); err != nil {
					t.Fatal(err)
				}
				make(name)
			case 1, 2:
				h.engine.DeleteRecords(t.Context(), engine.Partition{Topic: topic.ID, Index: partition}, rng.Int64N(h.end(topic, partition)+1))
			case 3:
				if h.engine.CreatePartitions(t.Context(), topic.Name, topic.Partitions+1, false) == nil {
					topics[name], _ = h.engine.Topic(topic.Name)
				}
			default:
				roundTrip[*kmsg.ProduceResponse](full, produceTo(topic, partition, records("x")), 9)
			}
			add, drop := map[toldKey]int64{}, []toldKey(nil)
			for _, topic := range topics {
				for p := range topic.Partitions + 1 { // one that there is not
					if key := c.keyOf(topic, p); rng.IntN(4) == 0 {
						if p < topic.Partitions {
							add[key] = rng.Int64N(h.end(topic, p) + 2)
						} else {
							add[key] = 0
						}
						wanted[key] = add[key]
					}
				}
			}
			for key := range wanted {
				if _, added := add[key]; !added && len(wanted) > 1 && rng.IntN(10) == 0 {
					drop = append(drop, key)
					delete(wanted, key)
				}
			}
			if len(wanted) == 0 {
				continue
			}
			rows := c.fetch(c.request(add, drop...))
			whole := &sessionClient{rawClient: full, version: version, told: map[toldKey]string{}, epoch: finalEpoch}
			answer := roundTrip[*kmsg.FetchResponse](full, whole.request(wanted), version)
			n := 0
			for _, topic := range answer.Topics {
				for _, p := range topic.Partitions {
					n++
					key := toldKey{topic.Topic, topic.TopicID, p.Partition}
					if c.told[key] != bounds(p) {
						t.Fatalf("v%d, step %d: the session says of %v: %s; a full fetch: %s", version, step, key, c.told[key], bounds(p))
					}
					if got := rows[key].RecordBatches; !slices.Equal(got, p.RecordBatches) {
						t.Fatalf("v%d, step %d: %v has %d bytes of records in the session, %d in a full fetch", version, step, key, len(got), len(p.RecordBatches))
					}
				}
			}
			if n != len(wanted) || len(c.told) != n {
				t.Fatalf("v%d, step %d: %d partitions wanted, %d told, %d in a full fetch", version, step, len(wanted), len(c.told), n)
			}
		}
	}
}

// TestKgoFetchesBySession consumes 200 partitions with a kgo client, whose responses become small when it has a session.
func TestKgoFetchesBySession(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 200)
	producer := h.dial()
	var sizes fetchSizes
	c := h.client(kgo.ConsumeTopics("orders"), kgo.FetchMaxWait(10*time.Millisecond), kgo.WithHooks(&sizes))
	seen := map[string]int{}
	for round := range 5 {
		for p := range topic.Partitions {
			if p%7 == int32(round) {
				roundTrip[*kmsg.ProduceResponse](producer, produceTo(topic, p, records(fmt.Sprint(round, "/", p))), 9)
				seen[fmt.Sprint(round, "/", p)] = 0
			}
		}
		for deadline := time.Now().Add(patience); slices.Contains(slices.Collect(maps.Values(seen)), 0); {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %v are missing", round, seen)
			}
			c.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
		}
	}
	for value, n := range seen {
		if n != 1 {
			t.Errorf("%s was consumed %d times", value, n)
		}
	}
	sizes.smallest.Store(1 << 30)
	eventually(t, "a fetch without news", func() bool { return sizes.smallest.Load() < 100 })
	if largest := sizes.largest.Load(); largest < 200*20 {
		t.Errorf("the largest response has %d bytes: none was full", largest)
	}
}

// fetchSizes is a kgo hook that has the sizes of the smallest and the largest Fetch response.
type fetchSizes struct{ smallest, largest atomic.Int64 }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (s *fetchSizes) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if key != int16(keyFetch) || e.Err() != nil {
		return
	}
	s.smallest.Store(min(s.smallest.Load(), int64(e.BytesRead)))
	s.largest.Store(max(s.largest.Load(), int64(e.BytesRead)))
}

// TestFetchSessionGrowsWithinBounds adds partitions to sessions until they take too much memory, and until they have more
// than a request may have. The session then ends, and the client goes on without one.
func TestFetchSessionGrowsWithinBounds(t *testing.T) {
	for _, c := range []struct {
		name            string
		begin, more     int32
		maxSessionBytes int
		want            Code
		again           bool // there is room for a new session of all
	}{
		{"no memory", 10, 1000, 20_000, fetchSessionIDNotFound, false},
		{"memory", 10, 1000, 200_000, none, true},
		{"too many partitions", 15_000, 15_000, 64 << 20, fetchSessionIDNotFound, true},
	} {
		h := newTestServer(t, func(config *Config) { config.MaxFetchSessionBytes = c.maxSessionBytes })
		topic := h.topic("orders", 1)
		s := &sessionClient{rawClient: h.dial(), version: 13, told: map[toldKey]string{}}
		of := func(from, to int32) *kmsg.FetchRequest {
			req := s.request(nil)
			row := kmsg.FetchRequestTopic{TopicID: topic.ID}
			for p := from; p < to; p++ {
				row.Partitions = append(row.Partitions, kmsg.FetchRequestTopicPartition{Partition: p})
			}
			req.Topics = []kmsg.FetchRequestTopic{row}
			return req
		}
		s.fetch(of(0, c.begin))
		if got := roundTrip[*kmsg.FetchResponse](s.rawClient, of(c.begin, c.begin+c.more), 13); got.ErrorCode != c.want {
			t.Errorf("%s: error %d, want %d", c.name, got.ErrorCode, c.want)
		}
		if n, _ := h.server.fetchSessions.inUse(); (n == 0) != (c.want != none) {
			t.Errorf("%s: %d sessions are left", c.name, n)
		}
		full := of(0, min(c.begin+c.more, maxFetchPartitions))
		full.SessionEpoch = initialEpoch
		got := roundTrip[*kmsg.FetchResponse](s.rawClient, full, 13)
		if got.ErrorCode != none || got.SessionID != 0 != c.again || len(got.Topics[0].Partitions) != len(full.Topics[0].Partitions) {
			t.Errorf("%s: fetched in full: error %d, session %d, %d partitions", c.name, got.ErrorCode, got.SessionID, len(got.Topics[0].Partitions))
		}
	}
}
