package logclient

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// endFetchesAfter is when EndFetches asks, from its call: kgo fetches from a partition that was added once it has its leader,
// which takes a request for metadata or two.
var endFetchesAfter = []time.Duration{metadataMinAge, 3 * metadataMinAge, 8 * metadataMinAge}

// EndFetches has the brokers answer the fetches of the client's kgo client that wait for records, so that partitions which were
// added to it are asked for soon: kgo has one fetch per broker under way. A broker of Tidings answers a fetch soon when another
// request comes on the connection; one of Apache Kafka does not, and answers when the fetch's own wait is over. EndFetches
// returns at once.
func (c *Client) EndFetches() {
	go func() {
		began, ctx := time.Now(), c.kgo.Context()
		for _, after := range endFetchesAfter {
			select {
			case <-time.After(after - time.Since(began)):
			case <-ctx.Done():
				return
			}
			for _, broker := range c.kgo.DiscoveredBrokers() {
				go func() {
					req := kmsg.NewPtrFetchRequest() // of no partitions; kgo sends it on the connection of its fetches
					req.SessionEpoch = -1
					_, _ = broker.Request(ctx, req) // what it says does not matter
				}()
			}
		}
	}()
}
