package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// IncrementalAlterConfigs, versions 0–1, of topics. The broker's configurations are read-only.

func (c *conn) incrementalAlterConfigs(ctx context.Context, r *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	resources := make([]configResource, len(r.Resources))
	for i, ask := range r.Resources {
		resources[i] = configResource{ask.ResourceType, ask.ResourceName}
	}
	configure(resources, func(i int) error {
		return c.editConfig(ctx, &r.Resources[i], r.ValidateOnly)
	}, func(resource configResource, err error) {
		row := kmsg.NewIncrementalAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = resource.kind, resource.name
		row.ErrorCode, row.ErrorMessage = configCode(err), message(err)
		resp.Resources = append(resp.Resources, row)
	})
	return resp
}

func (c *conn) editConfig(ctx context.Context, ask *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
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
