package meta

import (
	"maps"
	"slices"
	"strings"
)

// EditOp is what an edit does to one configuration of a topic, in the numbers of Kafka's IncrementalAlterConfigs.
type EditOp int8

const (
	EditSet      EditOp = 0 // Value takes the place of what is there
	EditDelete   EditOp = 1 // back to the default; no error if nothing was set
	EditAppend   EditOp = 2 // Value's elements are added to the list; those that it has already change nothing
	EditSubtract EditOp = 3 // Value's elements are taken out of the list; those that it does not have change nothing
)

// ConfigEdit is one change of one configuration.
type ConfigEdit struct {
	Name  string
	Op    EditOp
	Value string // not of EditDelete
}

// Configure decides a topic's whole configuration: what configs does not name goes back to its default. Errors:
// ErrUnknownTopic, ErrInvalidConfig.
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

// EditConfig decides changes of single configurations, in order; the others stay. A list that is appended to, or
// subtracted from, begins as what is in force under d. Errors: as Configure, and ErrInvalidConfig for a name that is
// edited twice or an operation that its type does not have.
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

func (e ConfigEdit) apply(configs map[string]string, d Defaults) error {
	s, ok := findSetting(e.Name)
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

// checkConfigs says whether a topic may have these configurations together.
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
