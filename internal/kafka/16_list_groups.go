package kafka

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (API key 16), versions 0–5. The filters by state (version 4 and later) and by type (version 5 and later)
// ignore case.
//
// Deviations from Apache Kafka: every group has the type classic.

// classicGroup is the type of every group.
const classicGroup = "classic"

// listGroups answers with the groups that match the filters of the request.
func (c *conn) listGroups(r *kmsg.ListGroupsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListGroupsResponse)
	if !wanted(r.TypesFilter, classicGroup) {
		return resp
	}
	passes := make(map[string]bool) // by state, so that each of the few states is compared with the filter once
	for _, g := range c.server.engine.Groups() {
		pass, known := passes[g.State]
		if !known {
			pass = wanted(r.StatesFilter, g.State)
			passes[g.State] = pass
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

// wanted reports whether value matches a filter: one of its strings, ignoring case. An empty filter matches everything.
func wanted(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
