package demo

import "tidings.dev/examples/shop/facts"

// orderCounts are the numbers of events of some types.
type orderCounts struct {
	Placed    int64 `json:"placed"`
	Refused   int64 `json:"refused"`
	Cancelled int64 `json:"cancelled"` // placed, then cancelled because the payment was declined
	Returns   int64 `json:"returns"`
}

func (b *books) orders() orderCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return orderCounts{
		Placed: b.byType[facts.OrderPlaced.Name()], Refused: b.byType[facts.OrderRefused.Name()],
		Cancelled: b.byType[facts.OrderCancelled.Name()], Returns: b.byType[facts.ReturnAccepted.Name()],
	}
}

// events returns the number of events. An event counts once, however many records it has.
func (b *books) events() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.seen))
}

// totals are sums of money in the log, and the revenue that the shop's analytics service has computed from it.
type totals struct {
	CapturedPence    int64 `json:"captured_pence"`
	RefundedPence    int64 `json:"refunded_pence"`
	RevenueViewPence int64 `json:"revenue_view_pence"`
	Equal            bool  `json:"equal"` // CapturedPence == RevenueViewPence
}

func (b *books) totals(revenuePence int64) totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return totals{CapturedPence: b.capturedPence, RefundedPence: b.refundedPence, RevenueViewPence: revenuePence, Equal: b.capturedPence == revenuePence}
}

// reactionCounts are the numbers of events that a reaction has handled, retried and skipped, and of copies that it
// has seen.
type reactionCounts struct {
	Handled    int64 `json:"handled"`
	Retried    int64 `json:"retried"`
	Skipped    int64 `json:"skipped"`
	Duplicates int64 `json:"duplicates"`
}

// reactions returns the counts of each reaction to the shop's topic, by name.
func (b *books) reactions() map[string]reactionCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string]reactionCounts{}
	for reaction, types := range b.subscriptions {
		m := b.marksOf(reaction)
		counts := reactionCounts{Retried: m.retried.size(), Skipped: m.skipped.size(), Duplicates: m.duplicates.size()}
		for p, offsets := range m.done {
			for offset := range offsets {
				if b.wants(types, p, offset) && m.handled(p, offset) {
					counts.Handled++
				}
			}
		}
		all[reaction] = counts
	}
	return all
}
