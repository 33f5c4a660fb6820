package engine

import (
	"context"

	"tidings.dev/internal/meta"
)

// EditConfig changes single configurations of a topic, in order; it is durable and in force when this returns. With
// validateOnly it only says whether it would be. Errors match meta.ErrUnknownTopic, meta.ErrInvalidConfig, ErrStorage
// and ErrClosed.
//
// An append that is under way keeps to what was in force when it came.
func (e *Engine) EditConfig(ctx context.Context, topic string, edits []meta.ConfigEdit, validateOnly bool) error {
	return e.changeConfig(ctx, validateOnly, func() (meta.Change, error) {
		return e.catalogue.EditConfig(topic, edits, e.c.defaults())
	})
}

// ReplaceConfig gives a topic a whole new configuration: what configs does not name goes back to its default. Otherwise
// it is as EditConfig.
func (e *Engine) ReplaceConfig(ctx context.Context, topic string, configs map[string]string, validateOnly bool) error {
	return e.changeConfig(ctx, validateOnly, func() (meta.Change, error) { return e.catalogue.Configure(topic, configs) })
}

func (e *Engine) changeConfig(ctx context.Context, validateOnly bool, decide func() (meta.Change, error)) error {
	e.ddl.Lock()
	defer e.ddl.Unlock()
	if err := e.mayChange(ctx); err != nil {
		return err
	}
	change, err := decide()
	if err != nil || validateOnly {
		return err
	}
	if err := e.commit(kindChange, change.Encode()); err != nil {
		return err
	}
	e.configure(change)
	return nil
}

// configure applies a change of a topic's configuration to the catalogue and to its partitions.
func (e *Engine) configure(change meta.Change) {
	e.mu.Lock()
	e.catalogue.Apply(change)
	t, _ := e.catalogue.TopicByID(change.Topic.ID)
	var parts []*part
	for i := range t.Partitions {
		if p := e.parts[Partition{t.ID, i}]; p != nil {
			parts = append(parts, p)
		}
	}
	e.mu.Unlock()
	limits := e.limitsOf(t)
	for _, p := range parts {
		p.configured.Store(&limits)
		p.log.SetConfig(limits.log)
	}
}
