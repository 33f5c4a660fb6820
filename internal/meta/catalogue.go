package meta

import (
	"maps"
	"slices"
	"strings"
)

// MaxPartitions is the most partitions one topic may have, as many as Apache Kafka creates in one request.
const MaxPartitions = 10_000

// Catalogue is the set of topics. Create, Delete, Grow, Configure and EditConfig only decide: they return the Change to be made durable, and
// Apply carries it out afterwards. Between the two the engine must decide nothing else, or two creations of one name
// could both pass.
//
// It is not safe for concurrent use; what it returns is, since applied state is replaced and never written to.
type Catalogue struct {
	defaultPartitions int32
	byID              map[TopicID]Topic
	byName            map[string]TopicID
	byCollision       map[string]string // collisionKey → name
	sorted            []Topic           // by name; replaced by each Apply
}

// NewCatalogue returns an empty catalogue. defaultPartitions is given to topics that do not say how many they want;
// below 1 it is 1.
func NewCatalogue(defaultPartitions int32) *Catalogue {
	return &Catalogue{
		defaultPartitions: max(defaultPartitions, 1),
		byID:              make(map[TopicID]Topic),
		byName:            make(map[string]TopicID),
		byCollision:       make(map[string]string),
	}
}

// Create decides a new topic. newID must be fresh: random, and never used before. Errors: ErrInvalidTopic,
// ErrTopicExists, ErrInvalidPartitions, ErrInvalidConfig.
func (c *Catalogue) Create(s TopicSpec, newID TopicID) (Change, error) {
	if err := CheckName(s.Name); err != nil {
		return Change{}, err
	}
	if other, ok := c.byCollision[collisionKey(s.Name)]; ok {
		if other == s.Name {
			return Change{}, invalid(ErrTopicExists, s.Name, "choose another name")
		}
		return Change{}, invalid(ErrInvalidTopic, s.Name, "it collides with topic %q: Kafka takes . and _ for the same", other)
	}
	partitions := s.Partitions
	if partitions == 0 || partitions == -1 {
		partitions = c.defaultPartitions
	}
	if partitions < 1 || partitions > MaxPartitions {
		return Change{}, invalid(ErrInvalidPartitions, s.Name, "%d is not in 1 to %d", s.Partitions, MaxPartitions)
	}
	if err := checkConfigs(s.Configs); err != nil {
		return Change{}, err
	}
	if _, taken := c.byID[newID]; taken || newID == (TopicID{}) {
		return Change{}, invalid(ErrTopicExists, newID.String(), "topic ids are never reused")
	}
	return Change{Kind: Created, Topic: Topic{
		Name: s.Name, ID: newID, Partitions: partitions, Configs: maps.Clone(s.Configs),
	}}, nil
}

// Delete decides to remove a topic; the error is ErrUnknownTopic.
func (c *Catalogue) Delete(id TopicID) (Change, error) {
	t, ok := c.byID[id]
	if !ok {
		return Change{}, ErrUnknownTopic
	}
	return Change{Kind: Deleted, Topic: t}, nil
}

// Grow decides to raise a topic's partition count to n. Errors: ErrUnknownTopic, ErrInvalidPartitions (a count never
// shrinks, and one that stays is refused as Kafka refuses it).
func (c *Catalogue) Grow(name string, n int32) (Change, error) {
	t, ok := c.Topic(name)
	if !ok {
		return Change{}, ErrUnknownTopic
	}
	switch {
	case n == t.Partitions:
		return Change{}, invalid(ErrInvalidPartitions, name, "it has %d partitions already", n)
	case n < t.Partitions:
		return Change{}, invalid(ErrInvalidPartitions, name, "it has %d partitions and cannot shrink to %d", t.Partitions, n)
	case n > MaxPartitions:
		return Change{}, invalid(ErrInvalidPartitions, name, "%d is more than %d", n, MaxPartitions)
	}
	t.Partitions = n
	return Change{Kind: Grown, Topic: t}, nil
}

// Apply carries out a durable change. It never fails, and a change applied twice is as good as once, so that recovery
// may replay over a snapshot that has it already.
func (c *Catalogue) Apply(ch Change) {
	old, known := c.byID[ch.Topic.ID]
	switch ch.Kind {
	case Created:
		c.put(ch.Topic)
	case Grown:
		if known && ch.Topic.Partitions > old.Partitions {
			old.Partitions = ch.Topic.Partitions
			c.put(old)
		}
	case Configured:
		if known {
			old.Configs = ch.Topic.Configs
			c.put(old)
		}
	case Deleted:
		if known {
			c.drop(old)
		}
	}
}

func (c *Catalogue) put(t Topic) {
	c.byID[t.ID] = t
	c.byName[t.Name] = t.ID
	c.byCollision[collisionKey(t.Name)] = t.Name
	i, found := slices.BinarySearchFunc(c.sorted, t.Name, byName)
	c.sorted = slices.Clone(c.sorted)
	if found {
		c.sorted[i] = t
	} else {
		c.sorted = slices.Insert(c.sorted, i, t)
	}
}

func (c *Catalogue) drop(t Topic) {
	delete(c.byID, t.ID)
	delete(c.byName, t.Name)
	delete(c.byCollision, collisionKey(t.Name))
	if i, found := slices.BinarySearchFunc(c.sorted, t.Name, byName); found {
		c.sorted = slices.Delete(slices.Clone(c.sorted), i, i+1)
	}
}

func byName(t Topic, name string) int { return strings.Compare(t.Name, name) }

// Topic finds a topic by its name.
func (c *Catalogue) Topic(name string) (Topic, bool) {
	id, ok := c.byName[name]
	if !ok {
		return Topic{}, false
	}
	return c.TopicByID(id)
}

// TopicByID finds a topic by its identity.
func (c *Catalogue) TopicByID(id TopicID) (Topic, bool) {
	t, ok := c.byID[id]
	return t, ok
}

// Topics returns all topics by name. The slice is shared: read it for as long as you like, never write to it.
func (c *Catalogue) Topics() []Topic { return c.sorted }
