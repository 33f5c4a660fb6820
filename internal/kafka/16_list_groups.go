package kafka

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups, versions 0–5. States (4+) and types (5+) filter whatever their case; every group is "Classic".

const classicGroup = "Classic"

func (c *conn) listGroups(r *kmsg.ListGroupsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListGroupsResponse)
	if !wanted(r.TypesFilter, classicGroup) {
		return resp
	}
	states := make(map[string]bool) // few, however many groups and filters there are
	for _, g := range c.server.engine.Groups() {
		pass, known := states[g.State]
		if !known {
			pass = wanted(r.StatesFilter, g.State)
			states[g.State] = pass
		}
		if !pass {
			continue
		}
		resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
			Group: g.Group, ProtocolType: g.ProtocolType, GroupState: g.State, GroupType: classicGroup,
		})
	}
	return resp
}

// wanted reports whether a filter lets value pass; an empty one does.
func wanted(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
