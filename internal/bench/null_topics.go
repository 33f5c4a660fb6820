package bench

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (n *NullServer) createTopics(r *kmsg.CreateTopicsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrCreateTopicsResponse()
	if n.topics == nil {
		n.topics, n.partitions = map[string]int32{}, map[nullTopicPartition]*nullPartition{}
	}
	for _, t := range r.Topics {
		answer := kmsg.NewCreateTopicsResponseTopic()
		answer.Topic, answer.NumPartitions, answer.ReplicationFactor = t.Topic, max(t.NumPartitions, 1), 1
		n.topics[t.Topic] = answer.NumPartitions
		for i := range answer.NumPartitions {
			n.partitions[nullTopicPartition{t.Topic, i}] = &nullPartition{}
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func (n *NullServer) deleteTopics(r *kmsg.DeleteTopicsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, name := range r.TopicNames {
		for i := range n.topics[name] {
			for _, b := range n.partitions[nullTopicPartition{name, i}].batches {
				n.keptBytes -= int64(len(b))
			}
			delete(n.partitions, nullTopicPartition{name, i})
		}
		delete(n.topics, name)
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic = kmsg.StringPtr(name)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func (n *NullServer) metadata(r *kmsg.MetadataRequest, host string, port int32) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrMetadataResponse()
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, host, port
	resp.Brokers, resp.ControllerID = append(resp.Brokers, broker), 1
	var names []string
	if r.Topics == nil {
		for name := range n.topics {
			names = append(names, name)
		}
	}
	for _, t := range r.Topics {
		names = append(names, *t.Topic)
	}
	for _, name := range names {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr(name)
		if n.topics[name] == 0 {
			topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range n.topics[name] {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = i, 1, []int32{1}, []int32{1}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

func (n *NullServer) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range r.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.Timestamp = p.Partition, -1
			log := n.partitions[nullTopicPartition{t.Topic, p.Partition}]
			switch {
			case log == nil:
				answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case p.Timestamp == -2:
				answer.Offset = 0
			default:
				answer.Offset = log.end
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
