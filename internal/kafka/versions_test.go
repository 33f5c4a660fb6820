package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// byHand are the APIs that kmsg does not decode.
var byHand = map[Key]bool{
	keyProduce: true, keyFetch: true, keyApiVersions: true, keySaslHandshake: true, keySaslAuthenticate: true,
}

// The table agrees with kmsg, which is generated from Kafka's message definitions, on which versions are flexible, and
// every row is either decoded by hand or has a layout for the guard.
func TestTableAgreesWithKmsg(t *testing.T) {
	last := Key(-1)
	for _, row := range table {
		if row.key <= last {
			t.Errorf("%s: not in order of key", row.name)
		}
		last = row.key
		req := kmsg.RequestForKey(int16(row.key))
		if got := kmsg.NameForKey(int16(row.key)); !sameName(got, row.name) {
			t.Errorf("key %d is %s, the table says %s", row.key, got, row.name)
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
		layout := layouts[row.key]
		if (layout == nil) != byHand[row.key] {
			t.Errorf("%s: either a layout or a decoder by hand", row.name)
		}
		if layout != nil && layout.flexible != row.flexible {
			t.Errorf("%s: the layout is flexible from %d, the table from %d", row.name, layout.flexible, row.flexible)
		}
	}
	if len(layouts)+len(byHand) != len(table) {
		t.Errorf("%d layouts and %d by hand, but %d rows", len(layouts), len(byHand), len(table))
	}
}

// Old clients and the traps of KAFKA.md fix some versions for ever.
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
	} {
		if row := lookup(c.key); row == nil || c.version < row.min || c.version > row.max {
			t.Errorf("%s: needs %s v%d", c.who, kmsg.NameForKey(int16(c.key)), c.version)
		}
	}
	for _, absent := range []Key{24, 25, 26, 27, 28, 68, 69} {
		if lookup(absent) != nil {
			t.Errorf("key %d is advertised, but not there", absent)
		}
	}
}

// sameName compares names but for the case of initials: Kafka has "Sasl", kmsg "SASL".
func sameName(a, b string) bool { return strings.EqualFold(a, b) }
