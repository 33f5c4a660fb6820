package loyalty

import "testing"

// Case: a point for each whole pound; an unknown customer earns none.
func TestGrant(t *testing.T) {
	for _, c := range []struct {
		customer string
		pence    int64
		want     Grant
	}{
		{"17850", 13912, Grant{"17850", 139}}, {"17850", 99, Grant{"17850", 0}}, {"", 13912, Grant{}},
	} {
		if got := grant(c.customer, c.pence); got != c.want {
			t.Errorf("%d pence of %q: %+v, want %+v", c.pence, c.customer, got, c.want)
		}
	}
}
