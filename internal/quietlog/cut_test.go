package quietlog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tidings.dev/internal/quietlog"
)

// kept is a handler that keeps the last record, and the attributes of its logger.
type kept struct {
	*slog.Record
	attrs *[]slog.Attr
}

func (k kept) Enabled(context.Context, slog.Level) bool { return true }
func (k kept) WithGroup(string) slog.Handler            { return k }
func (k kept) WithAttrs(attrs []slog.Attr) slog.Handler {
	*k.attrs = attrs
	return k
}
func (k kept) Handle(_ context.Context, r slog.Record) error {
	*k.Record = r
	return nil
}

type stringer string

func (s stringer) String() string { return string(s) }

type valuer string

func (v valuer) LogValue() slog.Value { return slog.StringValue(string(v)) }

// A text of any kind, in a message, an attribute, a group or an attribute of the logger, is cut if it is longer than
// MaxText, between two characters, and says how long it was.
func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	const note = "… (cut: 2097152 bytes)"
	k := kept{new(slog.Record), new([]slog.Attr)}
	log := slog.New(quietlog.New(k)).With("of the logger", long)
	check := func(what, text string) {
		t.Helper()
		if len(text) > quietlog.MaxText || len(text) < quietlog.MaxText-4 || !utf8.ValidString(text) || !strings.HasSuffix(text, note) {
			t.Errorf("%s: %d bytes: …%s", what, len(text), text[max(0, len(text)-40):])
		}
	}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelError} {
		log.Log(t.Context(), level, long, "string", long, "error", errors.New(long), "bytes", []byte(long), "stringer", stringer(long),
			"valuer", valuer(long), slog.Group("group", "n", 1, slog.Group("inner", "string", long)))
		check("the message", k.Message)
		count := 0
		k.Attrs(func(a slog.Attr) bool {
			count++
			if a.Key == "group" {
				group := a.Value.Group()
				if len(group) != 2 || group[0].Value.Int64() != 1 {
					t.Fatalf("%v", group)
				}
				a = group[1].Value.Group()[0]
			}
			check(a.Key, a.Value.String())
			return true
		})
		if count != 6 {
			t.Errorf("%d attributes", count)
		}
	}
	check("of the logger", (*k.attrs)[0].Value.String())
}

// What is not too long, or is no text, is passed on as it is.
func TestOtherValuesAreNotChanged(t *testing.T) {
	text := strings.Repeat("x", quietlog.MaxText)
	err, at := fmt.Errorf("%s", text), time.Now()
	k := kept{new(slog.Record), new([]slog.Attr)}
	slog.New(quietlog.New(k)).Warn(text, "error", err, "text", text, "at", at, "for", time.Second, "list", []string{text, text})
	got := map[string]any{}
	k.Attrs(func(a slog.Attr) bool {
		got[a.Key] = a.Value.Any()
		return true
	})
	if k.Message != text || got["error"] != err || got["text"] != text || !got["at"].(time.Time).Equal(at) || got["for"] != time.Second || len(got["list"].([]string)) != 2 {
		t.Error("a value was changed")
	}
}
