package group

import "encoding/binary"

// consumerProtocol is the protocol type of consumers. Groups of other types, such as the workers of Kafka Connect, do
// not assign partitions of topics.
const consumerProtocol = "consumer"

// subscribed returns the topics to which the members of the present generation subscribe, or nil if that cannot be
// known.
func subscribed(g *group) map[string]bool {
	if g.protocolType != consumerProtocol {
		return nil
	}
	all := make(map[string]bool)
	for _, m := range g.members {
		topics, ok := subscription(m.metadata(g.protocol))
		if !ok {
			return nil
		}
		for _, t := range topics {
			all[t] = true
		}
	}
	return all
}

// subscription decodes the topics in a ConsumerProtocolSubscription. All versions of that structure begin with a
// version (int16) and an array of strings with an int32 count and int16 lengths, big-endian; the rest is ignored.
// subscription returns false if b is malformed.
func subscription(b []byte) ([]string, bool) {
	if len(b) < 6 {
		return nil, false
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	if n < 0 || int(n) > len(b)/2 {
		return nil, false
	}
	topics := make([]string, 0, n)
	for range n {
		if len(b) < 2 {
			return nil, false
		}
		size := int(int16(binary.BigEndian.Uint16(b)))
		b = b[2:]
		if size < 0 || size > len(b) {
			return nil, false
		}
		topics = append(topics, string(b[:size]))
		b = b[size:]
	}
	return topics, true
}
