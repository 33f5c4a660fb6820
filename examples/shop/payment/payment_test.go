package payment

import "testing"

// Case: the limit itself is still paid.
func TestDeclineAboveTheLimit(t *testing.T) {
	b := bank{500000}
	if b.decline(500000) != "" {
		t.Error("the limit itself was declined")
	}
	if got := b.decline(500001); got != "above the limit of 5000.00 pounds" {
		t.Errorf("a penny above: %q", got)
	}
}
