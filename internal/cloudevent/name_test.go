package cloudevent_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tidings.dev/internal/cloudevent"
)

func TestNamesThatDifferHaveFormsThatDiffer(t *testing.T) {
	long := strings.Repeat("é", cloudevent.MaxNameBytes/2) // as long as a name may be
	forms := map[string]string{}
	for _, name := range []string{"", "checkout-7", long, long + "1", long + "2", "x" + long, "a\xff", "a\xfe", "a\uFFFD", "\xff\xfe\xfd\xfc", strings.Repeat("\xff", 1000)} {
		form := cloudevent.BoundName(name)
		if !cloudevent.ValidName(form) || !utf8.ValidString(form) || cloudevent.BoundName(form) != form {
			t.Errorf("%.20q has the form %q", name, form)
		}
		if valid := cloudevent.ValidName(name); valid != (form == name) {
			t.Errorf("%.20q is valid: %v, and has the form %q", name, valid, form)
		}
		if other, ok := forms[form]; ok {
			t.Errorf("%.20q and %.20q have one form, %q", name, other, form)
		}
		forms[form] = name
	}
	// Case: short forms are in logs and indexes, so the function may never change.
	if got := cloudevent.BoundName("x" + long); got != "x"+strings.Repeat("é", 31)+"~74d360a872e09391a13a1bdac70648cd" {
		t.Errorf("%q: the function has changed, and stories in existing logs fall apart", got)
	}
}

// Two senders name their stories at length, with one beginning. They are two stories.
func TestLongCorrelationsStayApart(t *testing.T) {
	long := strings.Repeat("c", cloudevent.MaxNameBytes)
	a := cloudevent.FromRecord(record("", "x", "ce_id", "1", "ce_correlationid", long+"a"))
	b := cloudevent.FromRecord(record("", "x", "ce_id", "2", "ce_correlationid", long+"b"))
	if a.Correlation == b.Correlation || !cloudevent.ValidName(a.Correlation) {
		t.Errorf("%q and %q", a.Correlation, b.Correlation)
	}
	if e := cloudevent.FromRecord(record("", "x", "ce_id", long)); e.Correlation != long {
		t.Errorf("a correlation that fits was changed to %q", e.Correlation)
	}
}
