package broker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/kgolink"
)

// books are the facts that must follow from the orders in a CSV file, with the pence that each names (0 for a fact
// without an amount). They are computed from the rules that the shop documents, without its code.
type books map[string]map[string]int64 // by type and subject

// enter adds a fact, or adds pence to its amount.
func (b books) enter(typ, subject string, pence int64) {
	if b[typ] == nil {
		b[typ] = map[string]int64{}
	}
	b[typ][subject] += pence
}

// sum returns the total of the facts of a type.
func (b books) sum(typ string) (pence int64) {
	for _, p := range b[typ] {
		pence += p
	}
	return pence
}

// readBooks computes the books of a gzipped CSV file with the columns InvoiceNo, StockCode, Description, Quantity,
// InvoiceDate, UnitPrice, CustomerID and Country. Orders of more than declineAbovePence are declined.
func readBooks(gz []byte, declineAbovePence int64) (books, error) {
	in, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, err
	}
	rows := csv.NewReader(in)
	if _, err := rows.Read(); err != nil {
		return nil, err
	}
	type invoice struct {
		good, customer bool
		pence          int64
	}
	invoices := map[string]*invoice{}
	for {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		quantity, err := strconv.ParseInt(row[3], 10, 64)
		price, ok := new(big.Rat).SetString(row[5])
		if err != nil || !ok {
			return nil, fmt.Errorf("row %q", row)
		}
		i := invoices[row[0]]
		if i == nil {
			i = &invoice{}
			invoices[row[0]] = i
		}
		i.customer = i.customer || row[6] != ""
		if strings.HasPrefix(row[0], "C") {
			quantity = -quantity
		}
		if quantity > 0 && price.Sign() > 0 {
			halfUp := new(big.Rat).Add(new(big.Rat).Mul(price, big.NewRat(100, 1)), big.NewRat(1, 2))
			i.good = true
			i.pence += quantity * new(big.Int).Quo(halfUp.Num(), halfUp.Denom()).Int64()
		}
	}
	b := books{}
	for no, i := range invoices {
		order, points := "order/"+no, i.customer && i.pence >= 100 // a known customer gets a point for each whole pound
		emailed := "shop.email.failed"
		if i.customer {
			emailed = "shop.email.sent"
		}
		switch {
		case strings.HasPrefix(no, "C"):
			b.enter("shop.return.accepted", "return/"+no, i.pence)
			b.enter("shop.payment.refunded", "return/"+no, i.pence)
			b.enter("shop.stock.restocked", "return/"+no, 0)
			if points {
				b.enter("shop.points.revoked", "return/"+no, 0)
			}
			continue
		case !i.good:
			b.enter("shop.order.refused", order, 0)
			continue
		case i.pence > declineAbovePence:
			b.enter("shop.payment.declined", order, i.pence)
			b.enter("shop.order.cancelled", order, 0)
			b.enter("shop.stock.released", order, 0)
			if points {
				b.enter("shop.points.revoked", order, 0)
			}
		default:
			b.enter("shop.payment.captured", order, i.pence)
			b.enter("shop.parcel.shipped", order, 0)
		}
		b.enter("shop.order.placed", order, i.pence)
		b.enter("shop.stock.reserved", order, 0)
		b.enter(emailed, order, 0)
		if points {
			b.enter("shop.points.earned", order, 0)
		}
	}
	return b, nil
}

// account is what a log contains about the shop: the facts about its orders, and the framework's facts about
// subscriptions, handled events and settled stories.
type account struct {
	facts   []*kgo.Record     // records of the topic orders; those of one partition are in order
	obliged []obligation.Fact // the framework's facts
}

// readAccount reads the account from a log.
func readAccount(ctx context.Context, where tidings.Connection) (*account, error) {
	facts, err := readAll(ctx, where, "orders")
	if err != nil {
		return nil, err
	}
	a := &account{facts: facts}
	for _, topic := range []string{obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic} {
		records, err := readAll(ctx, where, topic)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			f, err := obligation.Decode(r.Value)
			if err != nil {
				return nil, fmt.Errorf("%s/%d at %d: %w", topic, r.Partition, r.Offset, err)
			}
			a.obliged = append(a.obliged, f)
		}
	}
	return a, nil
}

// readAll reads a topic from its beginning to its end.
func readAll(ctx context.Context, where tidings.Connection, topic string) (records []*kgo.Record, err error) {
	link, err := where.Connect(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(kgolink.Options(link), kgo.ConsumeTopics(topic))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	last := make(map[int32]int64) // the last offsets of the partitions that are not read to their ends; compaction may have taken others
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			last[o.Partition] = o.Offset - 1
		}
	})
	for len(last) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%s: %d records, and not all of partitions that end at %v: %w", topic, len(records), last, err)
		}
		for _, r := range fetches.Records() {
			if records = append(records, r); r.Offset >= last[r.Partition] {
				delete(last, r.Partition)
			}
		}
	}
	return records, nil
}

// judge compares the account with the facts that must have happened, and returns the differences. It also checks that
// every event was handled and every story has settled.
func (a *account) judge(want books) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	got := books{}
	stories := map[string]int{} // number of events, by correlation
	seen := map[string]bool{}   // ids of the facts so far
	for _, r := range a.facts {
		id, typ := header(r, cloudevent.HeaderID), header(r, cloudevent.HeaderType)
		// A handler that ran twice has emitted the same id twice, and only the first record counts.
		if seen[id] {
			continue
		}
		seen[id] = true
		stories[header(r, cloudevent.HeaderCorrelation)]++
		// The cause of a fact must be in the log, before the fact.
		if cause := header(r, cloudevent.HeaderCausation); cause != "" && !seen[cause] {
			complain("%s of %s stands before its cause, or without it", typ, r.Key)
		}
		var amount struct { // a fact has at most one of these fields
			Pence  int64 `json:"pence"`
			Total  int64 `json:"total_pence"`
			Refund int64 `json:"refund_pence"`
		}
		if err := json.Unmarshal(r.Value, &amount); err != nil {
			complain("%s of %s: %v", typ, r.Key, err)
		}
		if _, twice := got[typ][string(r.Key)]; twice {
			complain("%s happened twice to %s, under two ids", typ, r.Key)
		}
		got.enter(typ, string(r.Key), amount.Pence+amount.Total+amount.Refund)
	}
	for _, typ := range slices.Sorted(maps.Keys(union(want, got))) {
		for _, subject := range slices.Sorted(maps.Keys(union(want[typ], got[typ]))) {
			w, wanted := want[typ][subject]
			switch g, there := got[typ][subject]; {
			case !there:
				complain("%s of %s is missing", typ, subject)
			case !wanted:
				complain("%s of %s should not have happened", typ, subject)
			case w != g:
				complain("%s of %s says %d pence, and the file %d", typ, subject, g, w)
			}
		}
		if want.sum(typ) != got.sum(typ) {
			complain("%s comes to %d pence, and in the file to %d", typ, got.sum(typ), want.sum(typ))
		}
	}
	return append(append(wrong, a.open()...), a.unsettled(stories)...)
}

// open returns the obligations that are not met, and other faults in the framework's facts, as sentences.
func (a *account) open() (wrong []string) {
	type at struct {
		reaction  string
		partition int32
		offset    int64
	}
	done, originals := map[at]bool{}, map[at]at{}
	subscriptions := map[string]*obligation.Subscription{}
	for _, f := range a.obliged {
		switch f := f.(type) {
		case *obligation.Subscription:
			subscriptions[f.Reaction] = f
		case *obligation.Marks:
			for _, span := range f.Done {
				for offset := span.Lo; offset < span.Hi; offset++ {
					done[at{f.Reaction, f.Partition, offset}] = true
				}
			}
			for _, c := range f.Copies {
				originals[at{f.Reaction, f.Partition, c.Offset}] = at{f.Reaction, f.Partition, c.Of}
			}
		case *obligation.Seek:
			wrong = append(wrong, fmt.Sprintf("the position of %s was moved, from %d to %d", f.Reaction, f.From, f.To))
		}
	}
	for reaction, s := range subscriptions {
		for partition, since := range s.Since {
			if since != 0 || s.Start[partition] != 0 {
				wrong = append(wrong, fmt.Sprintf("%s joined after the first order, at %d of partition %d", reaction, since, partition))
			}
		}
		for _, r := range a.facts {
			typ := header(r, cloudevent.HeaderType)
			event := at{reaction, r.Partition, r.Offset}
			if original, ok := originals[event]; ok { // a copy is done when its original is
				event = original
			}
			if slices.Contains(s.Types, typ) && !done[event] {
				wrong = append(wrong, fmt.Sprintf("%s of %s was never handled by %s", typ, r.Key, reaction))
			}
		}
	}
	if len(subscriptions) != 7 {
		wrong = append(wrong, fmt.Sprintf("%d services have subscribed", len(subscriptions)))
	}
	return wrong
}

// unsettled returns the stories that, by the last fact about each in the log, have not settled with all of their
// events. stories holds the number of events by correlation.
func (a *account) unsettled(stories map[string]int) (wrong []string) {
	last := map[string]obligation.Fact{}
	for _, f := range a.obliged {
		switch f := f.(type) {
		case *obligation.Settled, *obligation.Reopened:
			last[f.Key()] = f
		}
	}
	for correlation, events := range stories {
		f, ok := last[correlation].(*obligation.Settled)
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("the log does not say that %s has settled", correlation))
		case f.Events != events:
			wrong = append(wrong, fmt.Sprintf("%s has settled with %d events, and has %d", correlation, f.Events, events))
		}
	}
	return wrong
}

// header returns the value of a record's header, or "".
func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// union returns a map with the keys of both a and b.
func union[V any](a, b map[string]V) map[string]V {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]V{}
	}
	maps.Copy(both, b)
	return both
}
