package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	errRepeated = errors.New("each resource must appear at most once")
	errNoValue  = errors.New("a value is missing")
	errReadOnly = errors.New("only topics can be configured while the broker runs")
)

// configResource is something that has configurations.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// check says why a resource that a request names so many times can't be configured, or nil.
func (r configResource) check(times int) error {
	switch {
	case times > 1:
		return errRepeated
	case r.kind != kmsg.ConfigResourceTypeTopic:
		return errReadOnly
	}
	return nil
}

// configure has each resource of a request configured by its index, and answers once for each, in order. One that is named
// more than once is refused, and so is all but topics.
func configure(resources []configResource, do func(i int) error, answer func(configResource, error)) {
	times := make(map[configResource]int, len(resources))
	for _, r := range resources {
		times[r]++
	}
	for i, r := range resources {
		if times[r] == 0 {
			continue // refused once already
		}
		err := r.check(times[r])
		times[r] = 0
		if err == nil {
			err = do(i)
		}
		answer(r, err)
	}
}

// configCode is the code of an error of AlterConfigs and IncrementalAlterConfigs.
func configCode(err error) Code {
	if errors.Is(err, errRepeated) || errors.Is(err, errNoValue) || errors.Is(err, errReadOnly) {
		return invalidRequest
	}
	return topicCode(err)
}
