package client

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// Case: the reaction runs. It does what the plan says, and no more: the ids are all that it has handled, before and after.
func TestARunningReactionDoesWhatThePlanSays(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		again   string // per type, as the plan has it
		moved   string
		handled string // also what was handled before
		stuck   bool   // c is still stuck
	}{
		"over the stuck one":         {[]string{"--by", "1"}, "home.door.opened\t0\t1", "3\t4", "a b d e", false},
		"back by one":                {[]string{"--by=-1"}, "home.door.opened\t3\t0", "3\t2", "a b b d d e e", true},
		"back by more than there is": {[]string{"--by=-50"}, "home.door.opened\t4\t0", "3\t0", "a a b b d d e e", true},
		"to the end":                 {[]string{"--to", "latest"}, "home.door.opened\t0\t1", "3\t7", "a b d e", false},
		"one that is behind":         {[]string{"--event", "a"}, "home.door.opened\t1\t0", "3\t0", "a a b d e", true},
		"one that is ahead":          {[]string{"--event", "d"}, "home.door.opened\t1\t0", "3\t3", "a b d d e", true},
		"behind and ahead":           {[]string{"--event", "a", "--subject", "door/e"}, "home.door.opened\t2\t0", "3\t0", "a a b d e e", true},
		"jump exactly the stuck one": {[]string{"--event", "c", "--jump"}, "home.door.opened\t0\t1", "3\t3", "a b d e", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, p, _ := runningPorter(t)
			defer p.halt()
			args := append([]string{"group", "seek", "porter", "--topic", "doors"}, c.args...)
			s.Want(s.Run(args...), 2, "TOPIC\tPARTITION\tFROM\tTO\tTYPE\tAGAIN\tJUMPED\n", c.again, "--yes")
			s.Want(s.Run(append(args, "--yes", "--why", "a test")...), 0, c.again, "TOPIC\tPARTITION\tSTATE\tFROM\tTO", "doors\t0\tdone\t"+c.moved)
			p.await(c.handled)
			p.open("last")
			p.await(c.handled + " last")
			behind := 0
			if c.stuck {
				behind = 1
			}
			untilShown(t, s, fmt.Sprintf("porter\tStable\t1\t%d\t", behind), "group", "ls")
			time.Sleep(50 * time.Millisecond)
			if got := p.ids(); got != c.handled+" last" {
				t.Errorf("handled %q", got)
			}
		})
	}
}

// Case: a seek is given an id, and is run again: it is not done again, whether the reaction runs or not, and not by others.
func TestASeekWithAnIDIsDoneOnce(t *testing.T) {
	s, p, _ := runningPorter(t)
	args := []string{"group", "seek", "porter", "--topic", "doors", "--event", "a", "--id", "again-1", "--yes"}
	s.Want(s.Run(args...), 0, "doors\t0\tdone\t3\t0")
	p.await("a a b d e")
	s.Want(s.Run(args...), 0, "doors\t0\tdone\t3\t0")
	s.Want(s.Run("group", "seek", "porter", "--id", "again-1"), 0, "doors\t0\tdone\t3\t0")
	s.Want(s.Run("group", "seek", "porter", "--id", "again-2"), 3, "no seek of group porter has the id again-2")
	s.Want(s.Run("group", "seek", "porter", "--id", "again/2"), 2, "letters, digits")
	p.open("last")
	p.await("a a b d e last")
	untilShown(t, s, "porter\tStable\t1\t1\t1", "group", "ls")
	p.halt()
	s.Want(s.Run(args...), 0, "doors\t0\tdone\t3\t0")
	args[6], args[8] = "b", "again-3"
	s.Want(s.Run(args...), 0, "home.door.opened\t1\t0")
	s.Want(s.Run("group", "ls"), 0, "porter\tEmpty\t0\t2\t")
	s.Want(s.Run(args...), 0, "doors\t0\tdone")
	s.Want(s.Run("group", "ls"), 0, "porter\tEmpty\t0\t2\t")
	var results []move
	if err := json.Unmarshal([]byte(s.Want(s.Run("group", "seek", "porter", "--id", "again-3", "-o", "json"), 0).Stdout), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || results[0].Result == nil || results[0].Result.State != "done" || results[0].Result.ID != "again-3" {
		t.Errorf("%+v", results)
	}
}
