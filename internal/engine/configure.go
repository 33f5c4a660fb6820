package engine

import (
	"context"

	"tidings.dev/internal/datadir"
	"tidings.dev/internal/meta"
)

// EditConfig makes the given edits to a topic's configuration, in order. When it returns nil, after about one sync, the
// new configuration is durable and in force. With validateOnly it changes nothing and only returns whether the edits
// would be accepted. Errors match meta.ErrUnknownTopic, meta.ErrInvalidConfig, ErrStorage and ErrClosed.
//
// An append that has already begun may still be handled according to the earlier configuration.
func (e *Engine) EditConfig(ctx context.Context, topic string, edits []meta.ConfigEdit, validateOnly bool) error {
	return e.changeConfig(ctx, validateOnly, func() (meta.Change, error) {
		return e.topics.catalogue.EditConfig(topic, edits, e.config.topicDefaults())
	})
}

// ReplaceConfig sets a topic's whole configuration to configs. Every configuration that configs does not name goes back
// to its default. Durability, validateOnly and errors are as for EditConfig.
func (e *Engine) ReplaceConfig(ctx context.Context, topic string, configs map[string]string, validateOnly bool) error {
	return e.changeConfig(ctx, validateOnly, func() (meta.Change, error) { return e.topics.catalogue.Configure(topic, configs) })
}

// changeConfig calls decide, which must return a change of kind meta.Configured, and then journals and applies the
// change. With validateOnly it stops after decide. It holds topics.changeMu for all of that.
func (e *Engine) changeConfig(ctx context.Context, validateOnly bool, decide func() (meta.Change, error)) error {
	e.topics.changeMu.Lock()
	defer e.topics.changeMu.Unlock()
	if err := e.checkChange(ctx); err != nil {
		return err
	}
	change, err := decide()
	if err != nil || validateOnly {
		return err
	}
	if err := e.commit(datadir.KindChange, change.Encode()); err != nil {
		return err
	}
	e.configure(change)
	return nil
}

// configure applies a change of a topic's configuration to the catalogue and to the topic's partitions. The caller must
// hold topics.changeMu, except in recovery, which has the engine for itself.
func (e *Engine) configure(change meta.Change) {
	e.topics.mu.Lock()
	e.topics.catalogue.Apply(change)
	t, _ := e.topics.catalogue.TopicByID(change.Topic.ID)
	parts := e.topics.parts[t.ID]
	e.topics.mu.Unlock()
	config := e.partConfigOf(t)
	for _, p := range parts {
		p.configured.Store(&config)
		p.log.SetConfig(config.log)
	}
}
