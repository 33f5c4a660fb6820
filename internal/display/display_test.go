package display

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const family = "👩\u200d👩\u200d👧" // three emoji that two joiners make one

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "order/1": 7, "注文/1": 6, "한국어": 6, "é": 1, "e\u0301": 1, "🚚": 2, family: 2, "🇩🇪": 2, "├─ ✓ …": 6, "क्\u200dष": 2, "\u3000": 2,
	} {
		if got := Width(s); got != want {
			t.Errorf("%q: %d columns, want %d", s, got, want)
		}
	}
}

func TestCutAndPad(t *testing.T) {
	for _, c := range []struct {
		s       string
		columns int
		want    string
	}{
		{"order", 5, "order"}, {"order", 4, "ord…"}, {"order", 1, "…"}, {"order", 0, ""}, {"order", -1, ""},
		{"注文番号", 8, "注文番号"}, {"注文番号", 7, "注文番…"}, {"注文番号", 6, "注文…"}, {"注文番号", 2, "…"},
		{family + family, 3, family + "…"}, {family + family, 2, "…"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		got := Cut(c.s, c.columns)
		if got != c.want || Width(got) > max(c.columns, 0) {
			t.Errorf("%q in %d columns: %q", c.s, c.columns, got)
		}
	}
	for s, want := range map[string]string{"注文": "注文  |", "e\u0301": "e\u0301     |", "longer than that": "longer than that|"} {
		if got := Pad(s, 6) + "|"; got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestClean(t *testing.T) {
	for _, s := range []string{"order/1", "注文\u3000一", "customer/" + family, "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "می\u200cخواهم", "a\u00adb", "a\u2060b", "\ufeffa", "£1\u00a0000", "❤\ufe0f", ""} {
		if got := Clean(s); got != s {
			t.Errorf("%q is shown as %q", s, got)
		}
	}
	for _, bad := range []string{"\x1b[2J", "\x07", "\n", "\r", "\t", "\x00", "\x7f", "\u009b2J", "\x9b2J", "\xff", "\u2028", "\u2029", "\u061c", "\u200e", "\u200f",
		"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u206a", "\u206f", "\ufff9", "\ufffb", "\ue000", "\U000e0001"} {
		got := Clean("a" + bad + "b")
		if strings.Contains(got, bad) || !strings.Contains(got, "\ufffd") || !strings.HasPrefix(got, "a") || !strings.HasSuffix(got, "b") || !utf8.ValidString(got) {
			t.Errorf("%q is shown as %q", bad, got)
		}
	}
}

// Whatever the text is, it is valid, fits, and nothing in it steers a terminal.
func FuzzCut(f *testing.F) {
	f.Add("a"+family+"\xff\x1b", 3)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		clean := Clean(s)
		for _, r := range clean {
			if !Harmless(r) {
				t.Fatalf("%q has %q", clean, r)
			}
		}
		if got := Cut(clean, columns); Width(got) > max(columns, 0) || !utf8.ValidString(got) {
			t.Fatalf("%q in %d columns: %q", clean, columns, got)
		}
		if again := Clean(clean); again != clean {
			t.Fatalf("%q is cleaned to %q", clean, again)
		}
	})
}
