package client

import (
	"context"
	"iter"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
)

// tailFilter selects the events that tail prints: those that match one of the values of each field that is not empty.
type tailFilter struct {
	types, subjects, correlations, reactions []string
}

func (f *tailFilter) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.types, "type", nil, "only events of this type; may be repeated")
	c.Flags().StringArrayVar(&f.subjects, "subject", nil, "only events of this subject (or record key); may be repeated")
	c.Flags().StringArrayVar(&f.correlations, "correlation", nil, "only events of the story with this correlation `ID`; may be repeated")
	c.Flags().StringArrayVar(&f.reactions, "reaction", nil, "only events that this reaction has emitted; may be repeated")
	shell.MayBeEmpty(c, "type", "subject", "reaction") // records without one
}

// empty reports whether the filter selects all events.
func (f *tailFilter) empty() bool {
	return len(f.types)+len(f.subjects)+len(f.correlations)+len(f.reactions) == 0
}

// takes reports whether the filter selects the event in a record.
func (f *tailFilter) takes(r *kgo.Record) bool {
	if f.empty() {
		return true
	}
	e := cloudevent.FromRecord(r)
	has := func(wanted []string, value string) bool { return len(wanted) == 0 || slices.Contains(wanted, value) }
	return has(f.types, e.Type) && has(f.subjects, e.Subject) && has(f.correlations, e.Correlation) && has(f.reactions, e.Reaction)
}

// inTimeOrder returns an iterator over the records at offsets [from, until) of each partition, merged by timestamp;
// records of one partition stay in the order of offset. Each partition is read over a connection of its own. The
// iterator ends after the first error, which it yields with a nil record.
func (c connection) inTimeOrder(ctx context.Context, from, until logclient.Offsets) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		type source struct {
			head *kgo.Record
			next func() (*kgo.Record, error, bool)
		}
		var sources []*source
		for topic, partitions := range until {
			for p, end := range partitions {
				one := c.log.Read(ctx, logclient.Offsets{topic: {p: from[topic][p]}}, logclient.Offsets{topic: {p: end}})
				next, stop := iter.Pull2(one)
				defer stop()
				sources = append(sources, &source{next: next})
			}
		}
		advance := func(s *source) (ok bool, err error) {
			s.head, err, ok = s.next()
			return ok, err
		}
		live := sources[:0]
		for _, s := range sources {
			ok, err := advance(s)
			if err != nil {
				yield(nil, err)
				return
			}
			if ok {
				live = append(live, s)
			}
		}
		for len(live) > 0 {
			first := slices.MinFunc(live, func(a, b *source) int { return compareTimes(a.head, b.head) })
			if !yield(first.head, nil) {
				return
			}
			ok, err := advance(first)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				live = slices.DeleteFunc(live, func(s *source) bool { return s == first })
			}
		}
	}
}
