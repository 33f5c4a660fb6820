package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// ElectLeaders (API key 43), versions 0–2. This broker leads every partition, so that no election is needed.

// electLeaders answers, for each partition, that it has its leader.
func (c *conn) electLeaders(r *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ElectLeadersResponse)
	const preferred, unclean = 0, 1
	unknownKind := r.Version >= 1 && r.ElectionType != preferred && r.ElectionType != unclean
	if unknownKind {
		resp.ErrorCode = invalidRequest
	}
	if r.Topics == nil { // all, of which none needs an election
		for _, t := range c.server.engine.Topics() {
			resp.Topics = append(resp.Topics, kmsg.ElectLeadersResponseTopic{Topic: t.Name})
		}
	}
	for _, ask := range r.Topics {
		row := kmsg.ElectLeadersResponseTopic{Topic: ask.Topic}
		t, known := c.server.engine.Topic(ask.Topic)
		for _, p := range ask.Partitions {
			code, why := electionNotNeeded, "the partition has its leader"
			switch {
			case unknownKind:
				code, why = invalidRequest, "unknown kind of election"
			case !known || !within(t, p):
				code, why = unknownTopicOrPartition, "no such topic or partition"
			}
			row.Partitions = append(row.Partitions, kmsg.ElectLeadersResponseTopicPartition{Partition: p, ErrorCode: code, ErrorMessage: &why})
		}
		resp.Topics = append(resp.Topics, row)
	}
	return resp
}
