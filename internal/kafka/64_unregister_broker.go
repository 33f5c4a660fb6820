package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// UnregisterBroker (API key 64), version 0. This broker is the only one, and stays.

func (c *conn) unregisterBroker(r *kmsg.UnregisterBrokerRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.UnregisterBrokerResponse)
	resp.ErrorCode, resp.ErrorMessage = brokerIDNotRegistered, kmsg.StringPtr("there is no such broker")
	if r.BrokerID == c.server.config.NodeID {
		resp.ErrorCode, resp.ErrorMessage = invalidRequest, kmsg.StringPtr("the only broker cannot be unregistered")
	}
	return resp
}
