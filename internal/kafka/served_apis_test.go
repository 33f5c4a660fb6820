package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// byHand are the APIs whose requests are decoded without kmsg.
var byHand = map[Key]bool{
	keyProduce: true, keyFetch: true, keyApiVersions: true, keySaslHandshake: true, keySaslAuthenticate: true,
}

// TestServedAPIsAgreeWithKmsg compares servedAPIs with kmsg, which is generated from Kafka's message definitions: names
// and flexible versions must agree, and kmsg must know every version that is served. Every API must either have a
// layout or be decoded by hand.
func TestServedAPIsAgreeWithKmsg(t *testing.T) {
	last := Key(-1)
	for _, row := range servedAPIs {
		if row.key <= last {
			t.Errorf("%s: not in order of key", row.name)
		}
		last = row.key
		req := kmsg.RequestForKey(int16(row.key))
		if got := kmsg.NameForKey(int16(row.key)); !sameName(got, row.name) {
			t.Errorf("key %d is %s, servedAPIs says %s", row.key, got, row.name)
		}
		if row.min > row.max || row.max > req.MaxVersion() {
			t.Errorf("%s: versions %d–%d, kmsg knows up to %d", row.name, row.min, row.max, req.MaxVersion())
		}
		for v := row.min; v <= row.max; v++ {
			req.SetVersion(v)
			if req.IsFlexible() != (v >= row.flexible) {
				t.Errorf("%s v%d: flexible is %t", row.name, v, req.IsFlexible())
			}
		}
		layout := requestLayouts[row.key]
		if (layout == nil) != byHand[row.key] {
			t.Errorf("%s: either a layout or a decoder by hand", row.name)
		}
		if layout != nil && layout.flexible != row.flexible {
			t.Errorf("%s: the layout is flexible from %d, servedAPIs from %d", row.name, layout.flexible, row.flexible)
		}
	}
	if len(requestLayouts)+len(byHand) != len(servedAPIs) {
		t.Errorf("%d requestLayouts and %d by hand, but %d rows", len(requestLayouts), len(byHand), len(servedAPIs))
	}
}

// TestVersionsThatClientsRelyOn checks that versions which old clients need are served.
func TestVersionsThatClientsRelyOn(t *testing.T) {
	for _, c := range []struct {
		who     string
		key     Key
		version int16
	}{
		{"librdkafka before 2.11.1 turns compression off above", keyProduce, 0},
		{"librdkafka", keyProduce, 10}, {"librdkafka", keyJoinGroup, 5}, {"librdkafka", keyLeaveGroup, 1},
		{"kafka-go", keyProduce, 2}, {"kafka-go", keyProduce, 3}, {"kafka-go", keyProduce, 7},
		{"kafka-go", keyFetch, 5}, {"kafka-go", keyFetch, 10}, {"kafka-go", keyMetadata, 1},
		{"kafka-go", keyJoinGroup, 1}, {"kafka-go", keyJoinGroup, 2},
		{"kafkajs", keyProduce, 7}, {"kafkajs", keyFetch, 11},
		{"sarama", keyProduce, 10}, {"sarama", keyFetch, 12},
		{"librdkafka", keyAddPartitionsToTxn, 0}, {"librdkafka", keyEndTxn, 1},
	} {
		if row := lookupAPI(c.key); row == nil || c.version < row.min || c.version > row.max {
			t.Errorf("%s: needs %s v%d", c.who, kmsg.NameForKey(int16(c.key)), c.version)
		}
	}
	for _, absent := range []Key{27, 68, 69} {
		if lookupAPI(absent) != nil {
			t.Errorf("key %d is advertised, but not there", absent)
		}
	}
}

// sameName reports whether a and b are equal except for case: Kafka writes "Sasl", kmsg "SASL".
func sameName(a, b string) bool { return strings.EqualFold(a, b) }
