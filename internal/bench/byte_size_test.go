package bench

import "testing"

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]ByteSize{"0": 0, "100": 100, "64KiB": 64 << 10, "1.5GiB": 3 << 29, "10MB": 10_000_000, "7 B": 7, "2TiB": 2 << 40} {
		var got, again ByteSize
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s", text, &got)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "NaN", "1e30", "9XB"} {
		if err := new(ByteSize).Set(text); err == nil {
			t.Errorf("%q is parsed as a size", text)
		}
	}
	if got := Thousands(1234567.6); got != "1,234,568" {
		t.Error(got)
	}
}
