package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs (API key 33), versions 0–2, replaces the whole configuration of a topic. A configuration that the
// request does not name returns to its default.
//
// Deviations from Apache Kafka: only topics can be configured, and other resources are answered with INVALID_REQUEST;
// if one value for a topic is refused, nothing of that topic changes.

// alterConfigs replaces the configurations of topics, and blocks until they are durable. If r.ValidateOnly is true, it
// only checks whether they would be accepted.
func (c *conn) alterConfigs(ctx context.Context, r *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterConfigsResponse)
	resources := make([]configResource, len(r.Resources))
	for i, ask := range r.Resources {
		resources[i] = configResource{ask.ResourceType, ask.ResourceName}
	}
	alterEach(resources, func(i int) error {
		return c.replaceConfig(ctx, &r.Resources[i], r.ValidateOnly)
	}, func(resource configResource, err error) {
		row := kmsg.NewAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = resource.kind, resource.name
		row.ErrorCode, row.ErrorMessage = configCode(err), errorMessage(err)
		resp.Resources = append(resp.Resources, row)
	})
	return resp
}

// replaceConfig replaces the configuration of one topic, or only checks it if validateOnly is true. Errors: errReadOnly,
// errNoValue, and those of engine.ReplaceConfig.
func (c *conn) replaceConfig(ctx context.Context, ask *kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	if ask.ResourceType != kmsg.ConfigResourceTypeTopic {
		return errReadOnly
	}
	configs := make(map[string]string, len(ask.Configs))
	for _, config := range ask.Configs {
		if config.Value == nil {
			return fmt.Errorf("%w: of %s", errNoValue, config.Name)
		}
		configs[config.Name] = *config.Value
	}
	return c.server.engine.ReplaceConfig(ctx, ask.ResourceName, configs, validateOnly)
}
