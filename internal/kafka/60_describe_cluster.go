package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeCluster (API key 60), versions 0–2.
//
// Deviations from Apache Kafka: the controller is this broker; a request for the endpoints of controllers (KIP-919) is
// answered with MISMATCHED_ENDPOINT_TYPE, as there is no controller quorum.

// Types of endpoints: the field endpoint_type of the request and the response.
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

// describeCluster answers with the cluster's id and its only broker.
func (c *conn) describeCluster(r *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ClusterID = c.server.engine.ClusterID()
	resp.ControllerID = c.server.config.NodeID
	resp.EndpointType = brokerEndpoints
	resp.ClusterAuthorizedOperations = operations(r.IncludeClusterAuthorizedOperations, clusterOperations)
	if r.Version >= 1 && r.EndpointType != brokerEndpoints {
		code, why := unsupportedEndpointType, "unknown kind of endpoint"
		if r.EndpointType == controllerEndpoints {
			code, why = mismatchedEndpointType, "this is a broker's endpoint; there are no controllers"
		}
		resp.ErrorCode, resp.ErrorMessage = code, &why
		resp.ControllerID, resp.ClusterAuthorizedOperations = -1, operationsNotAsked
		return resp
	}
	broker := kmsg.NewDescribeClusterResponseBroker()
	broker.NodeID, broker.Host, broker.Port = c.server.config.NodeID, c.host, c.port
	resp.Brokers = []kmsg.DescribeClusterResponseBroker{broker}
	return resp
}
