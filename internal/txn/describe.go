package txn

import (
	"maps"
	"slices"
	"time"
)

// Description is what DescribeTransactions and ListTransactions show of one transactional id.
type Description struct {
	ID       string
	State    string // as Apache Kafka names it: Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort
	Producer Producer
	Timeout  time.Duration
	Began    time.Time // of the open transaction; zero if none is open
	// Partitions are in the open transaction, in order.
	Partitions []Partition
}

// Describe returns one transactional id, and whether it is known.
func (c *Coordinator) Describe(id string) (Description, bool) {
	t := c.ids[id]
	if t == nil || t.durable.producer == NoProducer {
		return Description{}, false
	}
	d := t.describe()
	if t.open != nil {
		d.Partitions = slices.SortedFunc(maps.Keys(t.open.partitions), comparePartitions)
	}
	return d, true
}

// List returns all transactional ids in the order of their names, without partitions.
func (c *Coordinator) List() []Description {
	all := make([]Description, 0, len(c.ids))
	for _, t := range c.inOrder() {
		if t.durable.producer != NoProducer {
			all = append(all, t.describe())
		}
	}
	return all
}

func (t *transactionalID) describe() Description {
	d := Description{ID: t.id, State: "Empty", Producer: t.durable.producer, Timeout: t.durable.timeout}
	switch {
	case t.open != nil && t.pending == finishing && t.open.commit:
		d.State = "PrepareCommit"
	case t.open != nil && t.pending == finishing:
		d.State = "PrepareAbort"
	case t.open != nil:
		d.State = "Ongoing"
	case t.durable.outcome == Committed:
		d.State = "CompleteCommit"
	case t.durable.outcome == Aborted:
		d.State = "CompleteAbort"
	}
	if t.open != nil {
		d.Began = t.open.began
	}
	return d
}
