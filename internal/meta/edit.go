package meta

import (
	"maps"
	"slices"
	"strings"
)

// EditOp says what an edit does to a configuration of a topic, with the numbers of Kafka's IncrementalAlterConfigs.
type EditOp int8

const (
	EditSet      EditOp = 0 // Value replaces the present value
	EditDelete   EditOp = 1 // the configuration goes back to its default; not an error if it was not set
	EditAppend   EditOp = 2 // the elements of Value are added to the list; elements that it has already are ignored
	EditSubtract EditOp = 3 // the elements of Value are removed from the list; elements that it does not have are ignored
)

// ConfigEdit is an edit of one configuration of a topic.
type ConfigEdit struct {
	Name  string
	Op    EditOp
	Value string // not used by EditDelete
}

// Configure returns the change that replaces a topic's whole configuration by configs. Configurations that configs does
// not name go back to their defaults. The error matches ErrUnknownTopic or ErrInvalidConfig.
func (c *Catalogue) Configure(name string, configs map[string]string) (Change, error) {
	t, ok := c.Topic(name)
	if !ok {
		return Change{}, ErrUnknownTopic
	}
	if err := checkConfigs(configs); err != nil {
		return Change{}, err
	}
	if was, will := t.durability(), (Topic{Configs: configs}).durability(); was != will && (was == Memory || will == Memory) {
		return Change{}, invalid(ErrInvalidConfig, DurabilityMode+"="+string(will),
			"the topic has %s, and what is in memory only is no log: make a new topic", was)
	}
	t.Configs = maps.Clone(configs)
	return Change{Kind: Configured, Topic: t}, nil
}

// EditConfig returns the change that makes the edits, in order, and leaves all other configurations as they are.
// EditAppend and EditSubtract change the list that is in force, for which d has the broker's defaults. The error
// matches ErrUnknownTopic or ErrInvalidConfig; the latter also if a name is edited twice or an operation does not fit
// the type of a configuration.
func (c *Catalogue) EditConfig(name string, edits []ConfigEdit, d Defaults) (Change, error) {
	t, ok := c.Topic(name)
	if !ok {
		return Change{}, ErrUnknownTopic
	}
	configs, seen := maps.Clone(t.Configs), map[string]bool{}
	if configs == nil {
		configs = map[string]string{}
	}
	for _, e := range edits {
		if seen[e.Name] {
			return Change{}, invalid(ErrInvalidConfig, e.Name, "it is edited twice")
		}
		seen[e.Name] = true
		if err := e.apply(configs, d); err != nil {
			return Change{}, err
		}
	}
	return c.Configure(name, configs)
}

// apply makes the edit in configs.
func (e ConfigEdit) apply(configs map[string]string, d Defaults) error {
	s, ok := findSetting(e.Name)
	if !ok && e.Op == EditDelete { // as in Apache Kafka: what nobody knows is not set
		return nil
	}
	if !ok {
		return invalid(ErrInvalidConfig, e.Name, "unknown topic configuration")
	}
	switch e.Op {
	case EditSet:
		configs[e.Name] = e.Value
		return nil
	case EditDelete:
		delete(configs, e.Name)
		return nil
	case EditAppend, EditSubtract:
	default:
		return invalid(ErrInvalidConfig, e.Name, "unknown operation %d", e.Op)
	}
	if s.typ != TypeList {
		return invalid(ErrInvalidConfig, e.Name, "it is no list")
	}
	list := splitList(Topic{Configs: configs}.inForce(e.Name, d))
	for _, element := range splitList(e.Value) {
		i := slices.Index(list, element)
		switch {
		case e.Op == EditAppend && i < 0:
			list = append(list, element)
		case e.Op == EditSubtract && i >= 0:
			list = slices.Delete(list, i, i+1)
		}
	}
	configs[e.Name] = strings.Join(list, ",")
	return nil
}

// checkConfigs returns an error if a topic may not have these configurations together.
func checkConfigs(configs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if err := CheckConfig(name, configs[name]); err != nil {
			return err
		}
	}
	if (Topic{Configs: configs}).durability() == Memory && slices.Contains(splitList(configs[CleanupPolicy]), "compact") {
		return invalid(ErrInvalidConfig, CleanupPolicy+"="+configs[CleanupPolicy], "what is in memory only is not compacted")
	}
	return nil
}

func (t Topic) durability() Durability { return Durability(t.inForce(DurabilityMode, Defaults{})) }
