package tidings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"

	"tidings.dev/internal/jsonfields"
	"tidings.dev/internal/obligation"
)

// Fact is the definition of one kind of event: its name, the topic it is kept on, what it is about, and T, the Go type
// of its data. [Define] makes one, usually as a package variable that emitters and reactions import. A Fact is
// immutable and safe for concurrent use.
type Fact[T any] struct {
	def     definition
	subject func(T) string
}

// Definition is a *[Fact] of any type T, for lists of facts. Only this package implements it.
type Definition interface {
	// Name returns the fact's name, which is the CloudEvents type of its events, such as "shop.order.placed".
	Name() string
	// Topic returns the name of the topic that the fact's events are kept on.
	Topic() string

	// definition returns the parts of the Fact that do not depend on T.
	definition() *definition
}

// definition is the part of a Fact that does not depend on T.
type definition struct {
	name       string
	topic      string
	topicGiven bool  // whether In was given
	partitions int32 // of the topic, when it is created; 0 means the broker's default
	version    int
	subject    any               // a func(T) string; nil without Subject
	strict     bool              // set by Strict
	shape      *jsonfields.Shape // the fields of T, to compare events with
	decoder    *jsonfields.Decoder
}

// Name returns the fact's name, which is the CloudEvents type of its events, such as "shop.order.placed".
func (f *Fact[T]) Name() string { return f.def.name }

// Topic returns the name of the topic that the fact's events are kept on.
func (f *Fact[T]) Topic() string { return f.def.topic }

func (f *Fact[T]) definition() *definition { return &f.def }

// DefineOption is an option of [Define]: [In], [Subject], [Version] or [Strict].
type DefineOption func(*definition)

// TopicOption is an option of [In]: [Partitions].
type TopicOption func(*definition)

// Define returns a new fact. The name becomes the CloudEvents type of its events: words of letters, digits, '-' and
// '_' joined by dots, the last word in the past tense, such as "shop.order.placed". Without [In], the topic is the
// name up to its last dot. Without [Subject], the fact's events are in no order among each other. Without [Version],
// the schema version is 1.
//
// Define is meant for package variables, so it panics if an argument is not valid, such as a malformed name or a
// Subject of another type. It logs a warning if the name reads like a command.
func Define[T any](name string, opts ...DefineOption) *Fact[T] {
	if !factName.MatchString(name) {
		panic(fmt.Sprintf("tidings: Define(%q): a name is words of a-z, 0-9, - and _ joined by dots, such as \"shop.order.placed\"", name))
	}
	f := &Fact[T]{def: definition{name: name, version: 1, shape: jsonfields.ShapeOf(reflect.TypeFor[T]()), decoder: jsonfields.DecoderOf(reflect.TypeFor[T]())}}
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

// In sets the topic of a fact. All apps that emit the fact or react to it must use the same topic: an app that finds
// that another one uses a different topic logs a warning. Keep facts about one subject on one topic, whichever app
// emits them, because events of one subject are only ordered within a topic. A name is 1 to 249 letters, digits, '.',
// '_' and '-', and does not begin with "tidings." or "__".
func In(topic string, opts ...TopicOption) DefineOption {
	return func(d *definition) {
		if d.topicGiven {
			panic(fmt.Sprintf("tidings: Define(%q): In is given twice, with topics %q and %q: a fact is kept on one topic", d.name, d.topic, topic))
		}
		d.topic, d.topicGiven = topic, true
		for _, o := range opts {
			o(d)
		}
	}
}

// Partitions sets the number of partitions with which the topic is created, if this program is the one to create it. 0
// means the broker's default. It does not change a topic that exists. It panics if n is negative.
func Partitions(n int32) TopicOption {
	if n < 0 {
		panic("tidings: Partitions: a topic cannot have a negative number of partitions")
	}
	return func(d *definition) { d.partitions = n }
}

// Subject sets the function that returns what a fact is about, such as "order/123". The subject becomes the record's
// key: events of one subject are kept and handled in order. of is called once for each emission. An empty subject
// means that the event is about nothing in particular.
func Subject[T any](of func(T) string) DefineOption {
	return func(d *definition) {
		if of == nil {
			panic(fmt.Sprintf("tidings: Define(%q): Subject(nil): leave Subject out if the facts are about nothing in particular", d.name))
		}
		if d.subject != nil {
			panic(fmt.Sprintf("tidings: Define(%q): Subject is given twice: a fact is about one thing", d.name))
		}
		d.subject = of
	}
}

// Version sets the schema version that each event of the fact carries. It panics if n is less than 1.
func Version(n int) DefineOption {
	if n < 1 {
		panic("tidings: Version: versions count from 1")
	}
	return func(d *definition) { d.version = n }
}

// Strict makes events whose fields differ from those of the Go type count as undecodable: events that have a field
// which the type lacks, or lack a field which the type has. Fields that their tag lets an encoder leave out
// (omitempty, omitzero) may be missing. With Strict, a handler does not mistake a field that another program has
// renamed for a zero value: the event is tried again, or [OnUndecodable] decides about it. Without Strict, such events
// are handled, and the differing fields are counted ([ReactionStats]) and logged.
//
// Strict compares the fields of structs, including nested structs and the first element of lists. It does not look
// into maps and types that decode themselves (UnmarshalJSON).
func Strict() DefineOption { return func(d *definition) { d.strict = true } }

// Facts returns its arguments as a list, to be passed to [ReactWith].
func Facts(defs ...Definition) []Definition { return defs }

// From decodes e as an event of the fact. It returns false if e is of another type. It returns true and a
// [*PayloadError] if e is of this type but its payload does not decode as T, or does not meet the rules of [Strict].
func (f *Fact[T]) From(e Any) (Event[T], bool, error) {
	if e.Type != f.def.name {
		return Event[T]{}, false, nil
	}
	data, err := f.decode(&e)
	if err != nil {
		return Event[T]{}, true, err
	}
	return Event[T]{Meta: e.Meta, Data: data}, true, nil
}

// decode returns the data of an event of the fact. The error is a *PayloadError, as that of From.
func (f *Fact[T]) decode(e *Any) (data T, err error) {
	if err = f.def.decodePayload(e.Payload, &data); err == nil {
		if d := e.mismatches.check(e, f.def.shape, f.def.strict); f.def.strict && !d.None() {
			err = &mismatchError{d}
		}
	}
	if err != nil {
		failed := &PayloadError{Meta: e.Meta, Err: err}
		e.unread.note(failed)
		return *new(T), failed
	}
	return data, nil
}

// decodePayload is json.Unmarshal into the zero T that data points to. It is faster where that is simple: a
// json.RawMessage, which json.Unmarshal reads twice, and a struct for which there is a decoder.
func (d *definition) decodePayload(payload []byte, data any) error {
	if raw, ok := data.(*json.RawMessage); ok && jsonfields.Valid(payload) {
		*raw = bytes.Clone(bytes.Trim(payload, " \t\r\n"))
		return nil
	}
	if d.decoder != nil {
		if d.decoder.Decode(payload, data) {
			return nil
		}
		reflect.ValueOf(data).Elem().SetZero()
	}
	return json.Unmarshal(payload, data)
}

var (
	factName  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
)

// checkTopic returns an error if a fact cannot be kept on a topic of that name.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("no topic: add tidings.In(\"orders\")")
	case obligation.Internal(topic):
		return fmt.Errorf("topic %q: names that begin with \"tidings.\" or \"__\" are kept for what is no event of an application, and no story shows what is there: choose another with tidings.In", topic)
	case !topicName.MatchString(topic) || topic == "." || topic == "..":
		return fmt.Errorf("topic %q: a topic's name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", topic)
	}
	return nil
}

// lastWord returns the last word of a fact's name in lower case: "place" for "shop.order.place", for
// "shop.order-place" and for "shop.orderPlace".
func lastWord(name string) string {
	i := strings.LastIndexAny(name, "._-")
	word := name[i+1:]
	if j := strings.LastIndexFunc(word, func(r rune) bool { return r >= 'A' && r <= 'Z' }); j > 0 {
		word = word[j:]
	}
	return strings.ToLower(word)
}

// imperatives are verbs whose past participle differs from the infinitive, so that a name that ends in one reads like
// a command.
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
