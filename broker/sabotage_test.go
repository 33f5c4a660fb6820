//go:build sabotage

package broker_test

import (
	"testing"

	"tidings.dev/internal/sabotage"
)

// TestSabotageIsCaught checks that TestShopPowerCuts fails if the journal acknowledges records that are not durable.
func TestSabotageIsCaught(t *testing.T) {
	const journal = "internal/journal/writer.go"
	var all []sabotage.Mutant
	for _, m := range []struct {
		name  string
		edits []string
	}{
		{"the journal does not sync", []string{"j.current.f.Sync(); err != nil", "error(nil); err != nil"}},
		{"the journal acknowledges before it syncs", []string{
			"if synced {\n\t\tif err := j.sync(); err != nil {",
			"if synced {\n\t\tj.answer(append([]pending(nil), group...), nil)\n\t\tfor i := range group {\n\t\t\tgroup[i].Done, group[i].bytes = nil, 0\n\t\t}\n" +
				"\t\tif err := j.sync(); err != nil {",
		}},
	} {
		all = append(all, sabotage.Mutant{Name: m.name, In: "broker", By: "TestShopPowerCuts", File: journal, Edits: m.edits})
	}
	sabotage.Caught(t, all)
}
