package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestOneFetchOfTwentyThousandPartitions fetches from 5,000 topics of 4 partitions in one request, by name and by id.
// The topics need not exist: the request is what is large.
func TestOneFetchOfTwentyThousandPartitions(t *testing.T) {
	h := newTestServer(t)
	real := h.topic("orders", 4)
	for _, version := range []int16{12, 13} {
		req := fetchFrom(real, 0, 0, 0)
		row := req.Topics[0].Partitions[0]
		req.Topics = nil
		for n := range 5000 {
			topic := kmsg.FetchRequestTopic{Topic: fmt.Sprint("orders-", n), TopicID: real.ID}
			for p := range int32(4) {
				row.Partition = p
				topic.Partitions = append(topic.Partitions, row)
			}
			req.Topics = append(req.Topics, topic)
		}
		got := roundTrip[*kmsg.FetchResponse](h.dial(), req, version)
		if len(got.Topics) != 5000 || len(got.Topics[4999].Partitions) != 4 {
			t.Errorf("v%d: %d topics are answered", version, len(got.Topics))
		}
	}
}
