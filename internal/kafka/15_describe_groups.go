package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/group"
)

// DescribeGroups (API key 15), versions 0–6. A group that does not exist has the state Dead, and from version 6 on also
// the code GROUP_ID_NOT_FOUND (KIP-1043).
//
// Deviations from Apache Kafka: a group that the request names twice has one row in the response.

// deadGroup is the state of a group that does not exist.
const deadGroup = "Dead"

// describeGroups answers with the states and the members of groups.
func (c *conn) describeGroups(r *kmsg.DescribeGroupsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
	seen := make(map[string]bool, len(r.Groups))
	for _, id := range r.Groups {
		if seen[id] {
			continue
		}
		seen[id] = true
		row := describedGroup(c.server.engine.DescribeGroup(id))
		row.Group = id
		// As in Apache Kafka, a group that does not exist has no operations from version 6 on.
		row.AuthorizedOperations = operations(r.IncludeAuthorizedOperations && !(row.State == deadGroup && r.Version >= 6), groupOperations)
		if row.State == deadGroup && r.Version >= 6 {
			row.ErrorCode, row.ErrorMessage = groupIDNotFound, errorMessage(group.ErrGroupNotFound)
		}
		resp.Groups = append(resp.Groups, row)
	}
	return resp
}

// describedGroup returns a group's row without its name. The bytes in the row alias d.
func describedGroup(d group.Description) kmsg.DescribeGroupsResponseGroup {
	row := kmsg.NewDescribeGroupsResponseGroup()
	row.State, row.ProtocolType, row.Protocol = d.State, d.ProtocolType, d.Protocol
	for _, m := range d.Members {
		row.Members = append(row.Members, kmsg.DescribeGroupsResponseGroupMember{
			MemberID: string(m.Member), InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			ProtocolMetadata: m.Metadata, MemberAssignment: m.Assignment,
		})
	}
	return row
}
