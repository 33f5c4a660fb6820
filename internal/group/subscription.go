package group

import "encoding/binary"

// consumerProtocol is the protocol type of consumers; other types (Connect's workers) assign other things than topics.
const consumerProtocol = "consumer"

// subscribed returns the topics that the members of this generation subscribe to; nil when that cannot be known.
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

// subscription reads the topics of a ConsumerProtocolSubscription (all versions begin alike): version int16, then an array
// of strings with int32 and int16 lengths, big endian. What follows is the members' own business.
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
