package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/story"
)

// Case: a subject with more stories than one answer has, asked for by a part of its name.
func TestStoriesOfASubjectArePaged(t *testing.T) {
	s := program(t).On(clitest.Broker(t))
	s.Want(s.Run("topic", "create", "doors"), 0)
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "{\"n\":%d}\n", i)
	}
	s.Want(s.Pipe(lines.String(), "emit", "home.door.opened", "--topic", "doors", "--subject", "door/7"), 0)
	for flags, want := range map[string]int{"": 20, "--limit 5": 5, "--limit 40": 30, "--all": 30} {
		args := append([]string{"story", "7"}, strings.Fields(flags)...)
		r := s.Want(s.Run(append(args, "-o", "json")...), 0)
		var found story.Story
		if err := json.Unmarshal([]byte(r.Stdout), &found); err != nil {
			t.Fatal(err)
		}
		if len(found.Correlations) != want || found.LeftStories != 30-want || found.Events != 30 || found.Sentence != "door/7: 30 events, and nobody listening." {
			t.Errorf("%q: %d stories, %d left, %s", flags, len(found.Correlations), found.LeftStories, found.Sentence)
		}
		if r := s.Want(s.Run(args...), 0, "30 events"); strings.Contains(r.Stderr, "--all") != (want < 30) {
			t.Errorf("%q: %s", flags, r.Stderr)
		}
	}
	s.Want(s.Run("story", "7", "--limit", "0"), 2, "--all")
	s.Want(s.Run("story", "7", "--limit", "3", "--all"), 2, "limit")
}
