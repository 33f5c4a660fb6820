package bench

import (
	"github.com/spf13/pflag"

	"tidings.dev/internal/bench/testbed"
	"tidings.dev/internal/cli/shell"
)

// variant has the flags for a second topic, which gets the same load as the first and is measured in turn with it.
type variant struct {
	partitions int // 0: as many as the first topic
	configs    []string
}

func (v *variant) flags(f *pflag.FlagSet) {
	f.IntVar(&v.partitions, "against-partitions", 0, "measure in turn a topic of so many partitions, too")
	f.StringArrayVar(&v.configs, "against-config", nil, "measure in turn a topic with this setting, too; may be repeated")
}

// given reports whether a second topic is to be measured.
func (v *variant) given() bool { return v.partitions > 0 || v.configs != nil }

func (v *variant) check(c *common) error {
	if v.given() && c.topic.Name != "" {
		return shell.Usagef("leave --topic out", "a topic of other settings cannot be --topic")
	}
	return usage(testbed.CheckConfigs(v.configs))
}

// topic returns the flags of the second topic, given those of the first.
func (v *variant) topic(first testbed.TopicFlags) testbed.TopicFlags {
	second := testbed.TopicFlags{Partitions: first.Partitions, Configs: append(first.Configs[:len(first.Configs):len(first.Configs)], v.configs...)}
	if v.partitions > 0 {
		second.Partitions = v.partitions
	}
	return second
}
