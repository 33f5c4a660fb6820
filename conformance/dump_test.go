package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// event is one event of a topic, decoded from what kcat prints.
type event struct {
	id, kind, subject string
	pence             int64
	payload           json.RawMessage
}

// dump returns all events of a topic, read with kcat.
func dump(t *testing.T, address, topic string) []event {
	t.Helper()
	out := tool(t, "", "kcat", "-b", address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J")
	var events []event
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var record struct {
			Key     string   `json:"key"`
			Headers []string `json:"headers"` // names and values alternate
			Payload string   `json:"payload"`
		}
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("kcat's line is no JSON: %v\n%s", err, lines.Bytes())
		}
		e := event{subject: record.Key, payload: json.RawMessage(record.Payload)}
		for i := 0; i+1 < len(record.Headers); i += 2 {
			switch record.Headers[i] {
			case "ce_id":
				e.id = record.Headers[i+1]
			case "ce_type":
				e.kind = record.Headers[i+1]
			}
		}
		if e.id == "" || e.kind == "" || e.subject == "" {
			t.Fatalf("a record of %s lacks id, type or key: %s", topic, lines.Bytes())
		}
		var amount struct {
			Pence      int64 `json:"pence"`
			TotalPence int64 `json:"total_pence"`
		}
		if err := json.Unmarshal(e.payload, &amount); err != nil {
			t.Fatalf("%s of %s: the payload is no JSON object: %v", e.kind, e.subject, err)
		}
		e.pence = amount.Pence + amount.TotalPence // a fact has at most one of the two
		events = append(events, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// distinctEvents are the events of a dump, without records that repeat an earlier id.
type distinctEvents struct {
	pence   map[string]map[string]int64 // by type and by invoice number
	repeats int                         // number of records that repeat an earlier id
}

// distinct returns the distinct events of a dump. It fails the test if two different events have the same id, or if
// there are two events of one type about one subject with different ids.
func distinct(t *testing.T, events []event) *distinctEvents {
	t.Helper()
	l := &distinctEvents{pence: map[string]map[string]int64{}}
	ids := map[string]event{}
	for _, e := range events {
		if first, ok := ids[e.id]; ok {
			if first.kind != e.kind || first.subject != e.subject || first.pence != e.pence {
				t.Errorf("id %s stands for two different events: %s %s %d and %s %s %d", e.id, first.kind, first.subject, first.pence, e.kind, e.subject, e.pence)
			}
			l.repeats++
			continue
		}
		ids[e.id] = e
		_, no, ok := strings.Cut(e.subject, "/")
		if !ok {
			t.Fatalf("subject %q has no number", e.subject)
		}
		of := l.pence[e.kind]
		if of == nil {
			of = map[string]int64{}
			l.pence[e.kind] = of
		}
		if _, twice := of[no]; twice {
			t.Errorf("%s happened twice to %s under two ids", e.kind, e.subject)
		}
		of[no] = e.pence
	}
	return l
}

// compare fails the test unless the events and their amounts are those that follow from the books.
func (l *distinctEvents) compare(t *testing.T, b *Books) {
	t.Helper()
	fulfilled := map[string]bool{}
	for no := range b.Placed {
		if !b.Cancelled[no] {
			fulfilled[no] = true
		}
	}
	// A known customer gets a point for each whole pound.
	pointed := map[string]bool{}
	for no := range b.Placed {
		if b.HasCustomer[no] && b.TotalPence[no] >= 100 {
			pointed[no] = true
		}
	}
	for kind, want := range map[string]map[string]bool{
		"shop.order.placed":     b.Placed,
		"shop.order.refused":    b.Refused,
		"shop.return.accepted":  b.Returned,
		"shop.payment.captured": fulfilled,
		"shop.payment.declined": b.Cancelled,
		"shop.order.cancelled":  b.Cancelled,
		"shop.payment.refunded": b.Returned,
		"shop.stock.reserved":   b.Placed,
		"shop.stock.released":   b.Cancelled,
		"shop.stock.restocked":  b.Returned,
		"shop.parcel.shipped":   fulfilled,
		"shop.points.earned":    pointed,
	} {
		got := l.pence[kind]
		missing, extra := without(want, got), without(got, want)
		if len(missing) > 0 {
			t.Errorf("%s is missing for %d, such as %s", kind, len(missing), missing[0])
		}
		if len(extra) > 0 {
			t.Errorf("%s happened to %d that it should not have happened to, such as %s", kind, len(extra), extra[0])
		}
	}
	for no, pence := range l.pence["shop.order.placed"] {
		if pence != b.TotalPence[no] {
			t.Fatalf("order %s: placed with %d pence, the file says %d", no, pence, b.TotalPence[no])
		}
	}
	if got, want := sum(l.pence["shop.payment.captured"]), b.CapturedPence(); got != want {
		t.Errorf("captured %d pence, the file says %d", got, want)
	}
	if got, want := sum(l.pence["shop.payment.refunded"]), b.RefundedPence(); got != want {
		t.Errorf("refunded %d pence, the file says %d", got, want)
	}
}

// without returns the keys of a that are not in b.
func without[A, B any](a map[string]A, b map[string]B) (only []string) {
	for key := range a {
		if _, ok := b[key]; !ok {
			only = append(only, key)
		}
	}
	return only
}

// sum returns the sum of the values of pence.
func sum(pence map[string]int64) (total int64) {
	for _, p := range pence {
		total += p
	}
	return total
}
