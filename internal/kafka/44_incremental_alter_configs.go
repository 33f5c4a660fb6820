package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// IncrementalAlterConfigs, versions 0–1, of topics. The broker's configurations are read-only.

var (
	errRepeated = errors.New("each resource must appear at most once")
	errNoValue  = errors.New("a value is missing")
	errReadOnly = errors.New("only topics can be configured while the broker runs")
)

func (c *conn) incrementalAlterConfigs(ctx context.Context, r *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	times := make(map[configResource]int, len(r.Resources))
	for i := range r.Resources {
		times[configResource{r.Resources[i].ResourceType, r.Resources[i].ResourceName}]++
	}
	for i := range r.Resources {
		ask := &r.Resources[i]
		resource := configResource{ask.ResourceType, ask.ResourceName}
		if times[resource] == 0 {
			continue // refused once already
		}
		err := resource.check(times[resource])
		times[resource] = 0
		if err == nil {
			err = c.editConfig(ctx, ask, r.ValidateOnly)
		}
		row := kmsg.NewIncrementalAlterConfigsResponseResource()
		row.ResourceType, row.ResourceName = ask.ResourceType, ask.ResourceName
		row.ErrorCode, row.ErrorMessage = configCode(err), message(err)
		resp.Resources = append(resp.Resources, row)
	}
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

// configResource is something that has configurations.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// check says why a resource that a request names so many times can't be configured, or nil.
func (r configResource) check(times int) error {
	switch {
	case times > 1:
		return errRepeated
	case r.kind != kmsg.ConfigResourceTypeTopic:
		return errReadOnly
	}
	return nil
}

// configCode is the code of an error of AlterConfigs and IncrementalAlterConfigs.
func configCode(err error) Code {
	if errors.Is(err, errRepeated) || errors.Is(err, errNoValue) || errors.Is(err, errReadOnly) {
		return invalidRequest
	}
	return topicCode(err)
}
