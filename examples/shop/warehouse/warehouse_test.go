package warehouse

import (
	"testing"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
)

func paid(id string) tidings.Any {
	return tidings.Any{Meta: tidings.Meta{ID: id, Type: facts.PaymentCaptured.Name()}, Payload: []byte(`{"no":"7","pence":100}`)}
}

func reserved(id string) tidings.Any {
	return tidings.Any{Meta: tidings.Meta{ID: id, Type: facts.StockReserved.Name()}, Payload: []byte(`{"no":"7","units":3}`)}
}

// Case: the second of the two makes the parcel ready, whichever it is, and nothing after it does so again.
func TestReadyOnceInEitherOrder(t *testing.T) {
	for _, events := range [][]tidings.Any{{paid("a"), reserved("b"), paid("c")}, {reserved("a"), paid("b"), reserved("c")}} {
		var p Parcel
		var ready []string
		for _, e := range events {
			fold(&p, e)
			if p.ReadyBy == e.ID {
				ready = append(ready, e.ID)
			}
		}
		if len(ready) != 1 || ready[0] != "b" || p.Units != 3 {
			t.Errorf("made ready by %v, %+v; want by b alone", ready, p)
		}
		if orderNo(events[0]) != "7" || orderNo(events[1]) != "7" {
			t.Error("the order's number is lost")
		}
	}
}
