package kafka

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources (API key 74), versions 0–1. Version 0 asks for client metrics alone, of which there are none.

// listConfigResources answers with the resources of the kinds that the request names, or of all.
func (c *conn) listConfigResources(r *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	const topic, broker, logger, metrics, group = 2, 4, 8, 16, 32
	if r.Version == 0 {
		return resp
	}
	kinds := r.ResourceTypes
	if len(kinds) == 0 {
		kinds = []int8{logger, broker, topic}
	}
	seen := make(map[int8]bool)
	for _, kind := range kinds {
		if seen[kind] {
			continue
		}
		seen[kind] = true
		switch kind {
		case metrics, group: // there are none
		case broker, logger:
			resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: strconv.Itoa(int(c.server.config.NodeID)), Type: kind})
		case topic:
			for _, t := range c.server.engine.Topics() {
				resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: t.Name, Type: kind})
			}
		default:
			resp.ErrorCode, resp.ConfigResources = unsupportedVersion, nil
			return resp
		}
	}
	return resp
}
