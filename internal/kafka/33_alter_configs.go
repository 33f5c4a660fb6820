package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs, versions 0–2, of topics: the whole configuration at once. What is not named goes back to its default.
// The broker's configurations are read-only.

func (c *conn) alterConfigs(ctx context.Context, r *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.AlterConfigsResponse)
	resources := make([]configResource, len(r.Resources))
	for i, ask := range r.Resources {
		resources[i] = configResource{ask.ResourceType, ask.ResourceName}
	}
	configure(resources, func(i int) error {
		return c.replaceConfig(ctx, &r.Resources[i], r.ValidateOnly)
	}, func(resource configResource, err error) {
		row := kmsg.NewAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = resource.kind, resource.name
		row.ErrorCode, row.ErrorMessage = configCode(err), message(err)
		resp.Resources = append(resp.Resources, row)
	})
	return resp
}

func (c *conn) replaceConfig(ctx context.Context, ask *kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	configs := make(map[string]string, len(ask.Configs))
	for _, config := range ask.Configs {
		if config.Value == nil {
			return fmt.Errorf("%w: of %s", errNoValue, config.Name)
		}
		configs[config.Name] = *config.Value
	}
	return c.server.engine.ReplaceConfig(ctx, ask.ResourceName, configs, validateOnly)
}
