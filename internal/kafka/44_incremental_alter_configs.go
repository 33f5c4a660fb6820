package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// IncrementalAlterConfigs (API key 44), versions 0–1, sets or deletes single configurations of topics, and appends
// values to those that are lists or subtracts values from them.
//
// Deviations from Apache Kafka: only topics can be configured, and other resources are answered with INVALID_REQUEST,
// except that throttles of the broker, of which none is ever set, can be deleted; APPEND and SUBTRACT work on
// cleanup.policy, the only list.

// incrementalAlterConfigs changes configurations of topics, and blocks until they are durable. If r.ValidateOnly is
// true, it only checks whether the changes would be accepted.
func (c *conn) incrementalAlterConfigs(ctx context.Context, r *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	resources := make([]configResource, len(r.Resources))
	for i, ask := range r.Resources {
		resources[i] = configResource{ask.ResourceType, ask.ResourceName}
	}
	alterEach(resources, func(i int) error {
		return c.editConfig(ctx, &r.Resources[i], r.ValidateOnly)
	}, func(resource configResource, err error) {
		row := kmsg.NewIncrementalAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = resource.kind, resource.name
		row.ErrorCode, row.ErrorMessage = configCode(err), errorMessage(err)
		resp.Resources = append(resp.Resources, row)
	})
	return resp
}

// editConfig changes the configuration of one topic, or only checks the changes if validateOnly is true. Errors:
// errReadOnly, errNoValue, and those of engine.EditConfig.
func (c *conn) editConfig(ctx context.Context, ask *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	if ask.ResourceType != kmsg.ConfigResourceTypeTopic {
		if mine := ask.ResourceName == "" || ask.ResourceName == strconv.Itoa(int(c.server.config.NodeID)); mine && deletesThrottles(ask.Configs) {
			return nil
		}
		return errReadOnly
	}
	edits := make([]meta.ConfigEdit, 0, len(ask.Configs))
	for _, config := range ask.Configs {
		edit := meta.ConfigEdit{Name: config.Name, Op: meta.EditOp(config.Op)}
		switch {
		case config.Value != nil:
			edit.Value = *config.Value
		case edit.Op != meta.EditDelete:
			return fmt.Errorf("%w: of %s", errNoValue, config.Name)
		}
		edits = append(edits, edit)
	}
	return c.server.engine.EditConfig(ctx, ask.ResourceName, edits, validateOnly)
}

// deletesThrottles reports whether configs delete throttles of a broker and nothing else. kafka-reassign-partitions
// --verify does so when no reassignment is under way, and fails if it may not.
func deletesThrottles(configs []kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
	return len(configs) > 0 && !slices.ContainsFunc(configs, func(c kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
		return c.Op != kmsg.IncrementalAlterConfigOpDelete || !slices.Contains(throttles, c.Name)
	})
}

// throttles are the configurations of Apache Kafka's brokers that slow down reassignments.
var throttles = []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"}
