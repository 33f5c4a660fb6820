package framework

import (
	"encoding/json"
	"fmt"
	"strings"

	"tidings.dev"
)

// order is the data of the events.
type order struct {
	ID       string `json:"id"`
	Quantity int    `json:"quantity"`
	Pence    int    `json:"pence"`
	Due      int64  `json:"due,omitempty"` // when the event should have been emitted, in nanoseconds of now
	Note     string `json:"note"`
}

// MinBytes is the smallest size of an event's JSON.
const MinBytes = 90

// orderOf returns the order of a subject, whose JSON has size bytes. due is 0 where no latency is measured.
func orderOf(subject, size int, due int64) order {
	o := order{ID: fmt.Sprintf("%08d", subject), Quantity: subject%12 + 1, Pence: subject%1000 + 85, Due: due}
	without, _ := json.Marshal(o) // never fails
	o.Note = filler[:max(size-len(without), 0)]
	return o
}

// ordersOf returns one order of each subject.
func ordersOf(subjects, size int) []order {
	orders := make([]order, subjects)
	for i := range orders {
		orders[i] = orderOf(i, size, 0)
	}
	return orders
}

// MaxBytes is the largest size of an event's JSON.
const MaxBytes = 512 << 10

var filler = strings.Repeat("WHITE HANGING HEART T-LIGHT HOLDER ", MaxBytes/35+1)

// placed returns the fact that is emitted to a topic, which has a name of its own: a fact is kept on one topic. T is
// order, or json.RawMessage for handlers that take the JSON as it is.
func placed[T any](topic string) *tidings.Fact[T] {
	return tidings.Define[T](topic+".placed", tidings.In(topic), tidings.Subject(func(v T) string {
		o, ok := any(v).(order)
		if !ok {
			return ""
		}
		return "order/" + o.ID
	}))
}

// notice is the data of the events that handlers emit.
type notice struct {
	Order string `json:"order"`
	Note  string `json:"note"`
}

// note returns the notice about an order, which is of EmitBytes.
func note(subject string) notice {
	const without = len(`{"order":"","note":""}`)
	return notice{Order: subject, Note: filler[:max(EmitBytes-without-len(subject), 0)]}
}

// noted returns the fact that handlers emit to a topic. It returns nil without a topic.
func noted(topic string) *tidings.Fact[notice] {
	if topic == "" {
		return nil
	}
	return tidings.Define[notice](topic+".noted", tidings.In(topic), tidings.Subject(func(n notice) string { return n.Order }))
}
