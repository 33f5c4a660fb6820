package kafka

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// OffsetFetch (API key 9), versions 1–10. A request names one group up to version 7, and several from version 8 on; it
// names topics by id from version 10 on.
//
// Deviations from Apache Kafka: the member id and epoch of version 9 and later are not checked.

// offsetFetch answers with the committed positions of one or several groups.
func (c *conn) offsetFetch(r *kmsg.OffsetFetchRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetFetchResponse)
	if r.Version < 8 {
		c.offsetFetchOne(r, resp)
		return resp
	}
	seen := make(map[string]bool, len(r.Groups))
	for i := range r.Groups {
		// A group that the request names twice has one row, so that the size of the response is bounded by the number
		// of committed positions.
		if g := &r.Groups[i]; !seen[g.Group] {
			seen[g.Group] = true
			resp.Groups = append(resp.Groups, c.offsetFetchGroup(g, r.Version >= 10, r.RequireStable))
		}
	}
	return resp
}

// offsetFetchOne fills a response of versions 1–7, by converting the request to the newer layout and the answer back.
func (c *conn) offsetFetchOne(r *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse) {
	g := kmsg.OffsetFetchRequestGroup{Group: r.Group}
	if r.Topics != nil {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(r.Topics))
	}
	for _, t := range r.Topics {
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	answer := c.offsetFetchGroup(&g, false, r.RequireStable)
	resp.ErrorCode = answer.ErrorCode
	for _, t := range answer.Topics {
		row := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			code := p.ErrorCode
			if r.Version < 2 && answer.ErrorCode != none {
				code = answer.ErrorCode // a response of version 1 has no error code of its own
			}
			row.Partitions = append(row.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: code,
			})
		}
		resp.Topics = append(resp.Topics, row)
	}
}

// offsetFetchGroup returns the row of one group: the positions of the partitions in g.Topics, or all positions of the
// group if g.Topics is nil. byID reports whether topics are named by id. If requireStable is true, a partition whose
// position an open transaction may change is answered with UNSTABLE_OFFSET_COMMIT (KIP-447; trap 10).
func (c *conn) offsetFetchGroup(g *kmsg.OffsetFetchRequestGroup, byID, requireStable bool) kmsg.OffsetFetchResponseGroup {
	answer := kmsg.NewOffsetFetchResponseGroup()
	answer.Group = g.Group
	var unstable map[group.TopicPartition]bool
	if requireStable { // asked before the positions, so that none changes in between unnoticed
		unstable = c.server.engine.UnstableOffsets(g.Group)
	}
	if g.Topics == nil {
		committed, err := c.server.engine.FetchOffsets(g.Group, nil)
		answer.ErrorCode = coordinatorCode(err)
		for tp := range unstable {
			if _, ok := committed[tp]; !ok {
				committed[tp] = group.Committed{Offset: -1, LeaderEpoch: -1}
			}
		}
		answer.Topics = c.allCommitted(committed, unstable, byID)
		return answer
	}
	var ask []group.TopicPartition
	names, codes := make([]string, len(g.Topics)), make([]Code, len(g.Topics))
	for i := range g.Topics {
		names[i] = g.Topics[i].Topic
		if byID {
			topic, code := c.topicOf("", g.Topics[i].TopicID, true)
			names[i], codes[i] = topic.Name, code
		}
		for _, p := range g.Topics[i].Partitions {
			if codes[i] == none {
				ask = append(ask, group.TopicPartition{Topic: names[i], Partition: p})
			}
		}
	}
	committed, err := map[group.TopicPartition]group.Committed{}, error(nil)
	if len(ask) > 0 { // FetchOffsets takes an empty list as all partitions
		committed, err = c.server.engine.FetchOffsets(g.Group, ask)
	}
	answer.ErrorCode = coordinatorCode(err)
	for i := range g.Topics {
		row := kmsg.OffsetFetchResponseGroupTopic{Topic: names[i], TopicID: g.Topics[i].TopicID}
		for _, p := range g.Topics[i].Partitions {
			at, ok := committed[group.TopicPartition{Topic: names[i], Partition: p}]
			code := codes[i]
			if code == none && unstable[group.TopicPartition{Topic: names[i], Partition: p}] {
				ok, code = false, unstableOffsetCommit
			}
			row.Partitions = append(row.Partitions, committedRow(p, at, ok, code))
		}
		answer.Topics = append(answer.Topics, row)
	}
	return answer
}

// allCommitted returns rows for all positions in committed, in order of topic and partition.
// Those in unstable have no position and the code for that.
func (c *conn) allCommitted(committed map[group.TopicPartition]group.Committed, unstable map[group.TopicPartition]bool, byID bool) []kmsg.OffsetFetchResponseGroupTopic {
	var rows []kmsg.OffsetFetchResponseGroupTopic
	order := slices.SortedFunc(maps.Keys(committed), func(a, b group.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, tp := range order {
		if len(rows) == 0 || rows[len(rows)-1].Topic != tp.Topic {
			topic, known := c.server.engine.Topic(tp.Topic)
			if byID && !known {
				continue // the topic was deleted, and has no id to name it by
			}
			rows = append(rows, kmsg.OffsetFetchResponseGroupTopic{Topic: tp.Topic, TopicID: topic.ID})
		}
		last := &rows[len(rows)-1]
		code := none
		if unstable[tp] {
			code = unstableOffsetCommit
		}
		last.Partitions = append(last.Partitions, committedRow(tp.Partition, committed[tp], code == none, code))
	}
	return rows
}

// committedRow returns a partition's row. If ok is false, nothing is committed, and the offset in the row is -1.
func committedRow(partition int32, at group.Committed, ok bool, code Code) kmsg.OffsetFetchResponseGroupTopicPartition {
	if !ok {
		at = group.Committed{Offset: -1, LeaderEpoch: -1}
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: at.Offset, LeaderEpoch: at.LeaderEpoch, Metadata: &at.Metadata, ErrorCode: code,
	}
}
