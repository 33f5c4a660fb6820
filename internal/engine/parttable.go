package engine

import (
	"iter"

	"tidings.dev/internal/meta"
)

// partTable has the partitions of each topic by their index, so that a fetch of thousands of partitions looks up their
// topics and not each of them. While recovery loads a checkpoint, elements may be nil.
type partTable map[meta.TopicID][]*part

// get returns the partition with an id, or nil if there is none.
func (t partTable) get(id Partition) *part {
	parts := t[id.Topic]
	if id.Index < 0 || int(id.Index) >= len(parts) {
		return nil
	}
	return parts[id.Index]
}

// put adds a partition, or replaces the one with its id.
func (t partTable) put(p *part) {
	parts := t[p.id.Topic]
	for int(p.id.Index) >= len(parts) {
		parts = append(parts, nil)
	}
	parts[p.id.Index] = p
	t[p.id.Topic] = parts
}

// all returns an iterator over all partitions, in no particular order.
func (t partTable) all() iter.Seq[*part] {
	return func(yield func(*part) bool) {
		for _, parts := range t {
			for _, p := range parts {
				if p != nil && !yield(p) {
					return
				}
			}
		}
	}
}
