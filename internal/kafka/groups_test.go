package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestGroupLifeInEveryVersion has one member join, sync, send heartbeats, commit, fetch its offsets and leave, in every
// version of each API.
func TestGroupLifeInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 3)
	for i := range int16(11) {
		join, sync := min(i, lookupAPI(keyJoinGroup).max), min(i, lookupAPI(keySyncGroup).max)
		beat, leave := min(i, lookupAPI(keyHeartbeat).max), min(i, lookupAPI(keyLeaveGroup).max)
		commit, fetch := max(i, lookupAPI(keyOffsetCommit).min), max(i, lookupAPI(keyOffsetFetch).min)
		find := min(i, lookupAPI(keyFindCoordinator).max)
		group := "group-" + string('a'+rune(i))
		w := h.dial()

		coordinator := kmsg.NewPtrFindCoordinatorRequest()
		coordinator.CoordinatorKey, coordinator.CoordinatorKeys = group, []string{group}
		where := roundTrip[*kmsg.FindCoordinatorResponse](w, coordinator, find)
		if find >= 4 {
			c := where.Coordinators[0]
			where.ErrorCode, where.NodeID, where.Host = c.ErrorCode, c.NodeID, c.Host
		}
		if where.ErrorCode != none || where.NodeID != 1 || where.Host != "127.0.0.1" {
			t.Fatalf("FindCoordinator v%d: %+v", find, where)
		}

		j := kmsg.NewPtrJoinGroupRequest()
		j.Group, j.ProtocolType, j.SessionTimeoutMillis, j.RebalanceTimeoutMillis = group, "consumer", 10_000, 10_000
		j.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("meta")}}
		joined := roundTrip[*kmsg.JoinGroupResponse](w, j, join)
		if join >= 4 { // KIP-394
			if joined.ErrorCode != memberIDRequired || joined.MemberID == "" {
				t.Fatalf("JoinGroup v%d: %+v", join, joined)
			}
			j.MemberID = joined.MemberID
			joined = roundTrip[*kmsg.JoinGroupResponse](w, j, join)
		}
		if joined.ErrorCode != none || joined.LeaderID != joined.MemberID || len(joined.Members) != 1 ||
			string(joined.Members[0].ProtocolMetadata) != "meta" || joined.Protocol == nil || *joined.Protocol != "range" {
			t.Fatalf("JoinGroup v%d: %+v", join, joined)
		}
		member, generation := joined.MemberID, joined.Generation

		s := kmsg.NewPtrSyncGroupRequest()
		s.Group, s.MemberID, s.Generation = group, member, generation
		s.ProtocolType, s.Protocol = &j.ProtocolType, &j.Protocols[0].Name
		s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("yours")}}
		if got := roundTrip[*kmsg.SyncGroupResponse](w, s, sync); got.ErrorCode != none || string(got.MemberAssignment) != "yours" {
			t.Fatalf("SyncGroup v%d: %+v", sync, got)
		}

		b := kmsg.NewPtrHeartbeatRequest()
		b.Group, b.MemberID, b.Generation = group, member, generation
		if got := roundTrip[*kmsg.HeartbeatResponse](w, b, beat); got.ErrorCode != none {
			t.Fatalf("Heartbeat v%d: %+v", beat, got)
		}
		b.Generation++
		if got := roundTrip[*kmsg.HeartbeatResponse](w, b, beat); got.ErrorCode != illegalGeneration {
			t.Fatalf("Heartbeat v%d of another generation: %+v", beat, got)
		}

		note := "note"
		o := kmsg.NewPtrOffsetCommitRequest()
		o.Group, o.MemberID, o.Generation = group, member, generation
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Partition, row.Offset, row.Metadata, row.LeaderEpoch = 2, 42, &note, 0
		wrong := row
		wrong.Partition = 3
		o.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "orders", TopicID: topic.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{row, wrong}}}
		done := roundTrip[*kmsg.OffsetCommitResponse](w, o, commit).Topics[0].Partitions
		if done[0].ErrorCode != none || done[1].ErrorCode != unknownTopicOrPartition {
			t.Fatalf("OffsetCommit v%d: %+v", commit, done)
		}

		f := kmsg.NewPtrOffsetFetchRequest()
		f.Group, f.Topics = group, []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{2, 0}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "orders", TopicID: topic.ID, Partitions: []int32{2, 0}}}
		f.Groups = []kmsg.OffsetFetchRequestGroup{g}
		if got := fetchedOffsets(roundTrip[*kmsg.OffsetFetchResponse](w, f, fetch)); !slices.Equal(got, []int64{42, -1}) {
			t.Fatalf("OffsetFetch v%d: %v", fetch, got)
		}
		if fetch >= 2 {
			f.Topics, f.Groups[0].Topics = nil, nil // all
			if got := fetchedOffsets(roundTrip[*kmsg.OffsetFetchResponse](w, f, fetch)); !slices.Equal(got, []int64{42}) {
				t.Fatalf("OffsetFetch v%d of all: %v", fetch, got)
			}
		}

		l := kmsg.NewPtrLeaveGroupRequest()
		l.Group, l.MemberID, l.Members = group, member, []kmsg.LeaveGroupRequestMember{{MemberID: member}}
		left := roundTrip[*kmsg.LeaveGroupResponse](w, l, leave)
		if left.ErrorCode != none || leave >= 3 && left.Members[0].ErrorCode != none {
			t.Fatalf("LeaveGroup v%d: %+v", leave, left)
		}
		left = roundTrip[*kmsg.LeaveGroupResponse](w, l, leave)
		if leave >= 3 {
			left.ErrorCode = left.Members[0].ErrorCode
		}
		if left.ErrorCode != unknownMemberID {
			t.Fatalf("LeaveGroup v%d twice: %+v", leave, left)
		}
	}
}

// fetchedOffsets returns the offsets in an OffsetFetch response of any version, in order.
func fetchedOffsets(r *kmsg.OffsetFetchResponse) (offsets []int64) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			offsets = append(offsets, p.Offset)
		}
	}
	for _, g := range r.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				offsets = append(offsets, p.Offset)
			}
		}
	}
	return offsets
}

// TestGroupAdministrationInEveryVersion lists, describes and deletes groups and their offsets in every version of each
// API.
func TestGroupAdministrationInEveryVersion(t *testing.T) {
	h := newTestServer(t)
	topic := h.topic("orders", 1)
	w := h.dial()
	commit := func(group string) {
		o := kmsg.NewPtrOffsetCommitRequest()
		o.Group, o.Generation = group, -1
		row := kmsg.NewOffsetCommitRequestTopicPartition()
		row.Offset = 7
		o.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic.Name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{row}}}
		if got := roundTrip[*kmsg.OffsetCommitResponse](w, o, 8).Topics[0].Partitions[0]; got.ErrorCode != none {
			t.Fatalf("a plain commit: %+v", got)
		}
	}
	commit("g")
	for v := range lookupAPI(keyListGroups).max + 1 {
		got := roundTrip[*kmsg.ListGroupsResponse](w, kmsg.NewPtrListGroupsRequest(), v)
		if len(got.Groups) != 1 || got.Groups[0].Group != "g" || v >= 4 && got.Groups[0].GroupState != "Empty" {
			t.Errorf("ListGroups v%d: %+v", v, got)
		}
	}
	filter := kmsg.NewPtrListGroupsRequest()
	for _, c := range []struct {
		states, types []string
		n             int
	}{{[]string{"empty"}, nil, 1}, {[]string{"Stable"}, nil, 0}, {nil, []string{"classic"}, 1}, {nil, []string{"consumer"}, 0}} {
		filter.StatesFilter, filter.TypesFilter = c.states, c.types
		if got := roundTrip[*kmsg.ListGroupsResponse](w, filter, 5); len(got.Groups) != c.n {
			t.Errorf("%+v: %d groups", c, len(got.Groups))
		}
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups, describe.IncludeAuthorizedOperations = []string{"g", "no", "g"}, true
	for v := range lookupAPI(keyDescribeGroups).max + 1 {
		got := roundTrip[*kmsg.DescribeGroupsResponse](w, describe, v)
		if len(got.Groups) != 2 || got.Groups[0].State != "Empty" || got.Groups[1].State != "Dead" {
			t.Fatalf("DescribeGroups v%d: %+v", v, got)
		}
		if missing := got.Groups[1].ErrorCode; (missing == groupIDNotFound) != (v >= 6) {
			t.Errorf("DescribeGroups v%d: code %d for a group that is not there", v, missing)
		}
	}
	forget := kmsg.NewPtrOffsetDeleteRequest()
	forget.Group = "g"
	forget.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic.Name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}}}
	if got := roundTrip[*kmsg.OffsetDeleteResponse](w, forget, 0); got.ErrorCode != none || got.Topics[0].Partitions[0].ErrorCode != none ||
		got.Topics[0].Partitions[1].ErrorCode != unknownTopicOrPartition {
		t.Errorf("OffsetDelete: %+v", got)
	}
	remove := kmsg.NewPtrDeleteGroupsRequest()
	for v := range lookupAPI(keyDeleteGroups).max + 1 {
		commit("g")
		remove.Groups = []string{"g", "no"}
		got := roundTrip[*kmsg.DeleteGroupsResponse](w, remove, v)
		if got.Groups[0].ErrorCode != none || got.Groups[1].ErrorCode != groupIDNotFound {
			t.Errorf("DeleteGroups v%d: %+v", v, got)
		}
	}
	tx := kmsg.NewPtrFindCoordinatorRequest()
	tx.CoordinatorType, tx.CoordinatorKey = transactionCoordinator, "tx"
	if got := roundTrip[*kmsg.FindCoordinatorResponse](w, tx, 2); got.ErrorCode != none || got.Host == "" {
		t.Errorf("a coordinator of transactions: %+v", got)
	}
}

// TestJoinEndsWithItsConnection checks that a JoinGroup which waits for other members ends when its client disconnects.
func TestJoinEndsWithItsConnection(t *testing.T) {
	h := newTestServer(t)
	first, second := h.dial(), h.dial()
	join := func(member string) *kmsg.JoinGroupRequest {
		j := kmsg.NewPtrJoinGroupRequest()
		j.Group, j.MemberID, j.ProtocolType, j.SessionTimeoutMillis, j.RebalanceTimeoutMillis = "g", member, "consumer", 10_000, 60_000
		j.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		j.SetVersion(3)
		return j
	}
	got := roundTrip[*kmsg.JoinGroupResponse](first, join(""), 3)
	if got.ErrorCode != none {
		t.Fatalf("%+v", got)
	}
	second.send(join("")) // waits for the first member to join again
	eventually(t, "the second to be a member", func() bool { return len(h.engine.DescribeGroup("g").Members) == 2 })
	second.net.Close()
	eventually(t, "one connection", func() bool { return h.server.Connections() == 1 })
}
