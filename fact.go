package tidings

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// Fact is the definition of one kind of event: its name on the wire, the topic it is kept on, what it is about, and
// the Go type of its data. Definitions are values of packages that emitters and reactions share; they are immutable and
// safe for concurrent use.
type Fact[T any] struct {
	def     definition
	subject func(T) string
}

// Definition is a *Fact[T] of any T. Only this package implements it.
type Definition interface {
	// Name is the CloudEvents type, such as "shop.order.placed".
	Name() string
	// Topic is where the facts are kept.
	Topic() string

	definition() *definition
}

// definition is the part of a Fact that does not depend on T.
type definition struct {
	name       string
	topic      string
	partitions int32 // 0: the broker's default
	version    int
	subject    any // func(T) string, or nil
}

func (f *Fact[T]) Name() string            { return f.def.name }
func (f *Fact[T]) Topic() string           { return f.def.topic }
func (f *Fact[T]) definition() *definition { return &f.def }

// DefineOption is an option of Define: In, Subject, Version.
type DefineOption func(*definition)

// TopicOption is an option of In: Partitions.
type TopicOption func(*definition)

// Define defines a fact. The name is the CloudEvents type: words of letters and digits joined by dots, the last one in
// the past tense. Without In, the topic is the name up to its last dot; without Subject, the facts have no order among
// each other; without Version, the schema version is 1.
//
// Define is for package variables, so it panics on what is wrong at any time (a bad name, a Subject of another type)
// and logs a warning when a name reads like a command.
func Define[T any](name string, opts ...DefineOption) *Fact[T] {
	if !factName.MatchString(name) {
		panic(fmt.Sprintf("tidings: Define(%q): a name is words of a-z, 0-9, - and _ joined by dots, such as \"shop.order.placed\"", name))
	}
	f := &Fact[T]{def: definition{name: name, version: 1}}
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		f.def.topic = name[:i]
	}
	for _, o := range opts {
		o(&f.def)
	}
	if err := checkTopic(f.def.topic); err != nil {
		panic(fmt.Sprintf("tidings: Define(%q): %v", name, err))
	}
	if f.def.subject != nil {
		subject, ok := f.def.subject.(func(T) string)
		if !ok {
			panic(fmt.Sprintf("tidings: Define(%q): Subject takes a %T, but the facts are %T", name, f.def.subject, *new(T)))
		}
		f.subject = subject
	}
	if verb := lastWord(name); imperatives[verb] {
		slog.Warn("a fact is named like a command: facts have happened, so name them in the past tense",
			"fact", name, "word", verb)
	}
	return f
}

// In names the topic of a fact. Facts of one subject belong on one topic, whoever emits them: order per subject is
// order in the log.
func In(topic string, opts ...TopicOption) DefineOption {
	return func(d *definition) {
		d.topic = topic
		for _, o := range opts {
			o(d)
		}
	}
}

// Partitions is how many partitions the topic gets if this program is the one that creates it. 0 means the broker's
// default. A topic that exists already stays as it is.
func Partitions(n int32) TopicOption {
	if n < 0 {
		panic("tidings: Partitions: a topic cannot have a negative number of partitions")
	}
	return func(d *definition) { d.partitions = n }
}

// Subject says what a fact is about, such as "order/123": the record's key. Facts about one subject are kept, and
// handled, in order. The function is called once per emission.
func Subject[T any](of func(T) string) DefineOption {
	return func(d *definition) { d.subject = of }
}

// Version is the schema version stamped on each event; 1 or more.
func Version(n int) DefineOption {
	if n < 1 {
		panic("tidings: Version: versions count from 1")
	}
	return func(d *definition) { d.version = n }
}

// Facts makes a list of definitions, for ReactWith.
func Facts(defs ...Definition) []Definition { return defs }

// From gives the event as one of this fact. It is false when the event is of another type, and an error when it is of
// this type but its payload does not decode.
func (f *Fact[T]) From(e Any) (Event[T], bool, error) {
	if e.Type != f.def.name {
		return Event[T]{}, false, nil
	}
	ev := Event[T]{Meta: e.Meta}
	if err := json.Unmarshal(e.Payload, &ev.Data); err != nil {
		return Event[T]{}, true, &PayloadError{Meta: e.Meta, Err: err}
	}
	return ev, true, nil
}

var (
	factName  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
)

func checkTopic(topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("no topic: add tidings.In(\"orders\")")
	case !topicName.MatchString(topic) || topic == "." || topic == "..":
		return fmt.Errorf("topic %q: a topic's name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", topic)
	}
	return nil
}

// lastWord gives the last word of a name: "place" of "shop.order.place", of "shop.order-place" and of "shop.orderPlace".
func lastWord(name string) string {
	i := strings.LastIndexAny(name, "._-")
	word := name[i+1:]
	if j := strings.LastIndexFunc(word, func(r rune) bool { return r >= 'A' && r <= 'Z' }); j > 0 {
		word = word[j:]
	}
	return strings.ToLower(word)
}

// imperatives are verbs that differ from their past participle and make bad names of facts.
var imperatives = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(`accept add approve assign authorize begin book calculate call cancel capture change
		charge check clear close complete confirm create decline delete deliver deny disable dispatch do enable
		execute fail finish generate get give grant handle import increase insert invite issue make mark move notify
		open order pay perform pick place post prepare process publish receive refund register reject release remove
		rename replace request reserve restock resume return revoke run save schedule sell send ship start stop submit
		subscribe sync take transfer trigger update upload validate verify withdraw write`) {
		m[w] = true
	}
	return m
}()
