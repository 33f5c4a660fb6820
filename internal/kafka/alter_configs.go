package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/meta"
)

// This file has the code that AlterConfigs and IncrementalAlterConfigs share.

// Reasons to refuse a resource in these two APIs; configCode maps them to Kafka's code.
var (
	errRepeated = errors.New("each resource must appear at most once")
	errNoValue  = errors.New("a value is missing")
	errReadOnly = errors.New("only topics can be configured while the broker runs")
	errNoName   = errors.New("the name of the topic is missing")
)

// configResource names a resource (a topic, a broker, …) whose configuration a request asks to change.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// check returns the reason why a request may not configure the resource, or nil if it may. times is the number of times
// that the request names the resource.
func (r configResource) check(times int) error {
	switch {
	case times > 1:
		return errRepeated
	case r.kind == kmsg.ConfigResourceTypeBroker:
		return nil
	case r.kind != kmsg.ConfigResourceTypeTopic:
		return errReadOnly
	case r.name == "":
		return errNoName
	}
	return meta.CheckName(r.name)
}

// alterEach changes resources one after another, in the order of the request. For each distinct resource it calls alter
// with the index of the resource in resources, and then answer with the resulting error or nil. A resource that the
// request names more than once, or that is neither a topic nor a broker, is refused without calling alter.
func alterEach(resources []configResource, alter func(i int) error, answer func(configResource, error)) {
	times := make(map[configResource]int, len(resources))
	for _, r := range resources {
		times[r]++
	}
	for i, r := range resources {
		if times[r] == 0 {
			continue // answered already, as repeated
		}
		err := r.check(times[r])
		times[r] = 0
		if err == nil {
			err = alter(i)
		}
		answer(r, err)
	}
}

// configCode returns Kafka's code for an error of AlterConfigs or IncrementalAlterConfigs.
func configCode(err error) Code {
	if errors.Is(err, errRepeated) || errors.Is(err, errNoValue) || errors.Is(err, errReadOnly) || errors.Is(err, errNoName) {
		return invalidRequest
	}
	return topicCode(err)
}
