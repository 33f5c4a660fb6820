package reactor

import (
	"context"
	"math"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// derivations finds out, for each partition, the offset from which on the ids of emissions are derived from the
// identity of their cause. Below that offset they are derived from the cause's id alone, as instances of earlier
// versions do (ADR 23). If an event's handler has run and runs again, in any instance, both runs must derive the same
// ids. So the offset of a partition is
//
//   - the one recorded in the log, if there is one: it never changes;
//   - 0, if no instance has handled an event of the partition;
//   - the end of the partition, if an instance of an earlier version may have handled events of the partition: all of
//     those are below the end, because the group has no instance of an earlier version any more;
//   - not decided yet, while the group has an instance of an earlier version, which could get the partition and handle
//     the event again. Meanwhile ids are derived from ids alone.
//
// derivations is only used by kgo's callbacks, which come one at a time.
type derivations struct {
	reaction string
	client   *logclient.Client
	// agreed reports whether all members of the group's present generation know the newer formula.
	agreed atomic.Bool
	// from has the recorded offsets that are known.
	from map[derivedPartition]int64
}

// derivedPartition identifies a partition of one topic among the topics that have, or had, the same name.
type derivedPartition struct {
	topicPartition
	id topicID
}

func derivedPartitionOf(a *assignment) derivedPartition {
	return derivedPartition{a.topicPartition, a.topicID}
}

// noIdentities is the offset of a partition in which all ids are derived from ids alone.
const noIdentities = math.MaxInt64

// derivationPrefix begins the name of a group protocol that only members which know the newer formula offer.
const derivationPrefix = "tidings2-"

// balancers returns balancer twice: first under a name that only members which know the newer formula offer, then
// under its own name. A group uses a protocol that all of its members offer, and of several the one that they prefer.
// So it uses the first if all members know the formula, and the second if one of them does not.
func (d *derivations) balancers(balancer kgo.GroupBalancer) []kgo.GroupBalancer {
	return []kgo.GroupBalancer{
		announcingBalancer{balancer, derivationPrefix + balancer.ProtocolName(), func() { d.agreed.Store(true) }},
		announcingBalancer{balancer, balancer.ProtocolName(), func() { d.agreed.Store(false) }},
	}
}

// announcingBalancer is a balancer under another name that calls chosen when the group uses it.
type announcingBalancer struct {
	kgo.GroupBalancer
	name   string
	chosen func()
}

// ProtocolName implements kgo.GroupBalancer.
func (b announcingBalancer) ProtocolName() string { return b.name }

// ParseSyncAssignment implements kgo.GroupBalancer. kgo calls it in each generation on the balancer that the group
// uses, before it makes its callbacks.
func (b announcingBalancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	b.chosen()
	return b.GroupBalancer.ParseSyncAssignment(assignment)
}

// resolve sets identityFrom of the assignments in taken, and records offsets that are new. found says which partitions
// are untouched. ends must have been read after the partitions were assigned.
func (d *derivations) resolve(ctx context.Context, taken []assignment, found map[topicPartition]resumePoint, ends bounds) error {
	for i := range taken {
		if _, known := d.from[derivedPartitionOf(&taken[i])]; !known {
			if err := d.read(ctx); err != nil {
				return err
			}
			break
		}
	}
	var facts []*kgo.Record
	for i := range taken {
		a := &taken[i]
		from, known := d.from[derivedPartitionOf(a)]
		switch {
		case known:
			a.identityFrom = from
			continue
		case !d.agreed.Load():
			a.identityFrom = noIdentities
			continue
		case found[a.topicPartition].untouched:
			a.identityFrom = 0
		default:
			_, a.identityFrom = ends.of(a.topicPartition)
		}
		facts = append(facts, recordOfFact(&obligation.Derivation{
			Reaction: d.reaction, Topic: a.topic, Partition: a.partition, TopicID: obligation.TopicID(a.topicID), Version: int(cloudevent.DerivedFromIdentity), From: a.identityFrom,
		}))
	}
	if len(facts) == 0 {
		return nil
	}
	if err := d.client.ProduceSync(ctx, facts...); err != nil {
		return err
	}
	for i := range taken {
		if a := &taken[i]; a.identityFrom != noIdentities {
			d.from[derivedPartitionOf(a)] = a.identityFrom
		}
	}
	return nil
}

// read reads the recorded offsets from the log into d.from.
func (d *derivations) read(ctx context.Context) error {
	for rec, err := range d.client.ReadAll(ctx, obligation.SubscriptionsTopic, 0) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(rec.Key), d.reaction+"/") {
			continue
		}
		f, _ := obligation.Decode(rec.Value)
		if f, ok := f.(*obligation.Derivation); ok && f.Reaction == d.reaction && f.Version == int(cloudevent.DerivedFromIdentity) {
			d.from[derivedPartition{topicPartition{f.Topic, f.Partition}, topicID(f.TopicID)}] = f.From
		}
	}
	return nil
}

// derivation returns the formula by which ids are derived from the event at an offset of the partition.
func (p *partition) derivation(offset int64) cloudevent.Derivation {
	if offset < p.identityFrom {
		return cloudevent.DerivedFromID
	}
	return cloudevent.DerivedFromIdentity
}
