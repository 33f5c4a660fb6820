package quietlog

import (
	"fmt"
	"log/slog"
	"unicode/utf8"
)

// MaxText is the largest length, in bytes, of a message and of each text among a record's attributes. A longer one is
// cut, and says at its end how long it was.
const MaxText = 4 << 10

// cutText returns s if it has at most MaxText bytes, and otherwise its beginning with a note of its length, in MaxText
// bytes at most.
func cutText(s string) (string, bool) {
	if len(s) <= MaxText {
		return s, false
	}
	end := fmt.Sprintf("… (cut: %d bytes)", len(s))
	cut := MaxText - len(end)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + end, true
}

// cutValue returns a value in which no text is longer than MaxText, and whether one was cut. Texts are strings, bytes,
// and what the methods of errors and Stringers return, also in groups. A value without a text that was cut is v itself.
func cutValue(v slog.Value) (_ slog.Value, changed bool) {
	var text string
	switch v := v.Resolve(); v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindGroup:
		if attrs, changed := cutAttrs(v.Group()); changed {
			return slog.GroupValue(attrs...), true
		}
	case slog.KindAny:
		switch v := v.Any().(type) {
		case []byte:
			text = string(v)
		case error, fmt.Stringer:
			text = fmt.Sprint(v) // which returns a text if the method panics
		}
	}
	if text, changed = cutText(text); changed {
		return slog.StringValue(text), true
	}
	return v, false
}

// cutAttrs does to attributes what cutValue does to a value. It does not change attrs.
func cutAttrs(attrs []slog.Attr) (_ []slog.Attr, changed bool) {
	for i, a := range attrs {
		v, one := cutValue(a.Value)
		if !one {
			continue
		}
		if !changed {
			attrs, changed = append([]slog.Attr(nil), attrs...), true
		}
		attrs[i].Value = v
	}
	return attrs, changed
}

// cutRecord returns a record like r whose message and attributes are cut; r itself if there is nothing to cut.
func cutRecord(r slog.Record) slog.Record {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	message, long := cutText(r.Message)
	attrs, changed := cutAttrs(attrs)
	if !long && !changed {
		return r
	}
	cut := slog.NewRecord(r.Time, r.Level, message, r.PC)
	cut.AddAttrs(attrs...)
	return cut
}
