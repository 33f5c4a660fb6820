package meta

import (
	"maps"
	"slices"
	"strings"
)

// MaxPartitions is the largest number of partitions of a topic. Apache Kafka has the same limit for one request.
const MaxPartitions = 10_000

// Catalogue is the set of topics. The methods Create, Delete, Grow, Configure and EditConfig check a change and return
// it without performing it. The caller makes the change durable and then calls Apply. Between these two steps the
// caller must not call any of the five methods, since otherwise two creations of the same name could both succeed.
//
// A Catalogue is not safe for concurrent use. The values that it returns are, because Apply replaces values and never
// changes them in place.
type Catalogue struct {
	defaultPartitions int32
	byID              map[TopicID]Topic
	byName            map[string]TopicID
	byCollision       map[string]string // maps the collisionKey of each name to the name
	sorted            []Topic           // in the order of names; Apply replaces the slice
}

// NewCatalogue returns an empty catalogue. defaultPartitions is the partition count of topics whose TopicSpec has none.
// A value below 1 counts as 1.
func NewCatalogue(defaultPartitions int32) *Catalogue {
	return &Catalogue{
		defaultPartitions: max(defaultPartitions, 1),
		byID:              make(map[TopicID]Topic),
		byName:            make(map[string]TopicID),
		byCollision:       make(map[string]string),
	}
}

// Create returns the change that creates a topic. newID must be a new random id. The error matches ErrInvalidTopic,
// ErrTopicExists, ErrInvalidPartitions or ErrInvalidConfig.
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

// Delete returns the change that deletes a topic. The error matches ErrUnknownTopic.
func (c *Catalogue) Delete(id TopicID) (Change, error) {
	t, ok := c.byID[id]
	if !ok {
		return Change{}, ErrUnknownTopic
	}
	return Change{Kind: Deleted, Topic: t}, nil
}

// Grow returns the change that raises the partition count of a topic to n. The error matches ErrUnknownTopic or
// ErrInvalidPartitions. As in Apache Kafka, n must be higher than the present count.
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

// Apply performs a change, which must be durable. It cannot fail. If the catalogue contains the change already, Apply
// has no effect, so that recovery may replay the journal over a snapshot.
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

// put adds a topic, or replaces the topic with the same id.
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

// drop removes a topic from the catalogue.
func (c *Catalogue) drop(t Topic) {
	delete(c.byID, t.ID)
	delete(c.byName, t.Name)
	delete(c.byCollision, collisionKey(t.Name))
	if i, found := slices.BinarySearchFunc(c.sorted, t.Name, byName); found {
		c.sorted = slices.Delete(slices.Clone(c.sorted), i, i+1)
	}
}

// byName compares the name of t with name, for a search in Catalogue.sorted.
func byName(t Topic, name string) int { return strings.Compare(t.Name, name) }

// Topic returns the topic with a name, and whether it exists.
func (c *Catalogue) Topic(name string) (Topic, bool) {
	id, ok := c.byName[name]
	if !ok {
		return Topic{}, false
	}
	return c.TopicByID(id)
}

// TopicByID returns the topic with an id, and whether it exists.
func (c *Catalogue) TopicByID(id TopicID) (Topic, bool) {
	t, ok := c.byID[id]
	return t, ok
}

// Topics returns all topics in the order of names. The slice must not be changed. Later changes of the catalogue do not
// affect it.
func (c *Catalogue) Topics() []Topic { return c.sorted }
