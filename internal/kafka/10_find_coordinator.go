package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// FindCoordinator (API key 10), versions 0–6. This broker is the coordinator of every group and transactional id.
//
// Deviations from Apache Kafka: share groups are not supported. A request for the coordinator of one is answered with
// INVALID_REQUEST.

// Types of coordinators: the field key_type of the request.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// findCoordinator answers each key with this broker, or with the reason why there is no coordinator.
func (c *conn) findCoordinator(r *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.FindCoordinatorResponse)
	keys := r.CoordinatorKeys
	if r.Version < 4 {
		keys = []string{r.CoordinatorKey}
	}
	for _, key := range keys {
		row := c.coordinator(r.CoordinatorType)
		row.Key = key
		resp.Coordinators = append(resp.Coordinators, row)
	}
	if r.Version < 4 {
		row := &resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage = row.ErrorCode, row.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = row.NodeID, row.Host, row.Port
	}
	return resp
}

// coordinator returns the row for a coordinator of this type, without its key.
func (c *conn) coordinator(kind int8) kmsg.FindCoordinatorResponseCoordinator {
	row := kmsg.NewFindCoordinatorResponseCoordinator()
	row.NodeID, row.Port = -1, -1
	refuse := func(code Code, why string) kmsg.FindCoordinatorResponseCoordinator {
		row.ErrorCode, row.ErrorMessage = code, &why
		return row
	}
	switch kind {
	case groupCoordinator, transactionCoordinator:
		row.NodeID, row.Host, row.Port = c.server.config.NodeID, c.host, c.port
		return row
	default:
		return refuse(invalidRequest, "there are coordinators of groups and transactions only")
	}
}
