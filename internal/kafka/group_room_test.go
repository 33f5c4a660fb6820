package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinWith returns a JoinGroup request with metadata of this size.
func joinWith(group string, metadataBytes int) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType = group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 60_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", make([]byte, metadataBytes)
	req.Protocols = append(req.Protocols, p)
	req.SetVersion(3)
	return req
}

// TestJoinsWithLargeMetadataAreRefused has clients join groups with metadata of 900 KiB, and go. They must be refused
// before they have taken much memory, and an ordinary client must still be able to join.
func TestJoinsWithLargeMetadataAreRefused(t *testing.T) {
	h := newTestServer(t)
	accepted, refused := 0, 0
	for i := range 40 {
		w := h.dial()
		switch got := roundTrip[*kmsg.JoinGroupResponse](w, joinWith(fmt.Sprint("g", i), 900<<10), 3); got.ErrorCode {
		case none:
			accepted++
		case groupMaxSizeReached:
			refused++
		default:
			t.Fatal(got.ErrorCode)
		}
		w.net.Close()
	}
	if accepted == 0 || accepted > 36 || refused == 0 {
		t.Errorf("%d members have metadata of 900 KiB, %d were refused", accepted, refused)
	}
	if got := roundTrip[*kmsg.JoinGroupResponse](h.dial(), joinWith("honest", 1000), 3); got.ErrorCode != none {
		t.Errorf("an ordinary client: %d", got.ErrorCode)
	}
}

// TestWaitingJoinsHoldNoRequests has clients join groups that wait for their first members. Their requests must not use up
// the memory for requests meanwhile.
func TestWaitingJoinsHoldNoRequests(t *testing.T) {
	h := newTestServer(t)
	for i := range 10 {
		group := fmt.Sprint("g", i)
		roundTrip[*kmsg.JoinGroupResponse](h.dial(), joinWith(group, 1000), 3) // which does not join again
		h.dial().send(joinWith(group, 900_000))
	}
	eventually(t, "all to wait", func() bool { return h.requestsInWork() == 10 })
	eventually(t, "their memory to be given back", func() bool { return h.server.requestBytes.inUse() == 0 })
}
