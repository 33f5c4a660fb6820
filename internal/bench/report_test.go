package bench

import (
	"strings"
	"testing"
)

// Case: a goal that is met, one that is missed, and one whose ratio the report does not have.
func TestReportIsJudged(t *testing.T) {
	r := Report{Ratios: []Ratio{{Name: "a", Median: 2}, {Name: "b", Median: 2}, {Name: "c", Median: 2}}}
	missed, err := r.Judge(map[string]Goal{"a": {AtLeast: 1}, "b": {AtMost: 1}})
	if err != nil || len(missed) != 1 || missed[0].Name != "b" || missed[0].Goal != "<= 1" {
		t.Errorf("missed %+v: %v", missed, err)
	}
	if a, b, c := r.Ratios[0], r.Ratios[1], r.Ratios[2]; !*a.Met || *b.Met || c.Met != nil {
		t.Errorf("ratios %+v %+v %+v", a, b, c)
	}
	if _, err := r.Judge(map[string]Goal{"d": {AtLeast: 1}}); err == nil || !strings.Contains(err.Error(), "d") {
		t.Errorf("a goal without its ratio: %v", err)
	}
}
