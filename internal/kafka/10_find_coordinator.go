package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// FindCoordinator, versions 0–6. This broker coordinates every group. It has no transactions yet and no share groups,
// and says so in the answer rather than by a key that it does not advertise.

const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

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

func (c *conn) coordinator(kind int8) kmsg.FindCoordinatorResponseCoordinator {
	row := kmsg.NewFindCoordinatorResponseCoordinator()
	row.NodeID, row.Port = -1, -1
	refuse := func(code Code, why string) kmsg.FindCoordinatorResponseCoordinator {
		row.ErrorCode, row.ErrorMessage = code, &why
		return row
	}
	switch kind {
	case groupCoordinator:
		row.NodeID, row.Host, row.Port = c.server.config.NodeID, c.host, c.port
		return row
	case transactionCoordinator:
		return refuse(unsupportedVersion, "transactions are not supported yet")
	default:
		return refuse(invalidRequest, "there are coordinators of groups only")
	}
}
