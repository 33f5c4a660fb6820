package input

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DateOrder is the order of day and month in dates such as 12/1/2010. *DateOrder implements flag.Value.
type DateOrder string

const (
	FromFile   DateOrder = ""    // the order that the dates of the file show
	MonthFirst DateOrder = "mdy" // 12/1/2010 is the 1st of December
	DayFirst   DateOrder = "dmy" // 12/1/2010 is the 12th of January
)

// String implements flag.Value.
func (o *DateOrder) String() string { return string(*o) }

// Type returns the name of the kind of value, for help texts.
func (o *DateOrder) Type() string { return "order" }

// Set implements flag.Value. It accepts mdy and dmy in any case.
func (o *DateOrder) Set(s string) error {
	switch DateOrder(strings.ToLower(s)) {
	case MonthFirst, DayFirst:
		*o = DateOrder(strings.ToLower(s))
		return nil
	}
	return errors.New("the order is mdy (month/day/year) or dmy (day/month/year)")
}

// words returns the order as it is shown to users. FromFile must not be passed.
func (o DateOrder) words() string {
	if o == MonthFirst {
		return "month/day/year"
	}
	return "day/month/year"
}

// other returns the opposite order.
func (o DateOrder) other() DateOrder {
	if o == MonthFirst {
		return DayFirst
	}
	return MonthFirst
}

// dateShape matches a date with an optional time of day, clockShape a time of day with an optional zone, and serial a
// date as Excel stores it: see scanDate, scanClock and serialEpoch.
var (
	dateShape  = regexp.MustCompile(`^(\d{1,4})([-/.])(\d{1,2}|[A-Za-z]{3})([-/.])(\d{1,4})(?:(?:T|t|,?\s+)(.+))?$`)
	clockShape = regexp.MustCompile(`^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([AaPp])[Mm])?(?:\s*(Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?$`)
	serial     = regexp.MustCompile(`^\d{5}(?:[.,]\d+)?$`)
)

// serialEpoch is the day from which Excel counts days. A date is stored as the number of days since then, with the
// time of day as a fraction. Numbers of five digits are dates from 1927 to 2173.
var serialEpoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)

// date is a date as it is written in a file, before the order of day and month is known.
type date struct {
	year, first, second int // with known, month and day; otherwise day and month in the order of the file
	// known reports whether first is the month and second the day: the year comes first, or the month is a name.
	known     bool
	separator byte
	rest      time.Duration // time of day, less the zone's offset from UTC
	serial    time.Time     // the time, if the date was written as a number of Excel; otherwise zero
}

// scanDate parses a date. The year is first (2010-12-01), or last with two or four digits (1/12/2010, 01-Dec-10). A
// time of day with an optional zone may follow. A number of Excel is a date, too. It returns false if s is none of
// these.
func scanDate(s string) (d date, ok bool) {
	if serial.MatchString(s) {
		days, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
		seconds := math.Round(days * 86400)
		return date{serial: serialEpoch.Add(time.Duration(seconds) * time.Second)}, err == nil
	}
	m := dateShape.FindStringSubmatch(s)
	if m == nil || m[2] != m[4] {
		return date{}, false
	}
	d.separator = m[2][0]
	if d.rest, ok = scanClock(m[6]); !ok {
		return date{}, false
	}
	a, c := atoi(m[1]), atoi(m[5])
	month, named := monthOf(m[3])
	switch {
	case len(m[1]) == 4 && len(m[5]) <= 2:
		d.year, d.first, d.second, d.known = a, month, c, true
	case len(m[1]) <= 2 && (len(m[5]) == 4 || len(m[5]) == 2):
		d.year = c
		if len(m[5]) == 2 {
			d.year += 2000
			if c >= 69 { // as POSIX does
				d.year -= 100
			}
		}
		d.first, d.second = a, month
		if named {
			d.first, d.second, d.known = month, a, true
		}
	default:
		return date{}, false
	}
	return d, true
}

// monthOf returns the number of a month that is written as a number or as the first three letters of its English name.
// named reports whether it is a name.
func monthOf(s string) (month int, named bool) {
	if s[0] <= '9' {
		return atoi(s), false
	}
	t, err := time.Parse("Jan", strings.ToUpper(s[:1])+strings.ToLower(s[1:]))
	if err != nil {
		return 0, true // no date has month 0
	}
	return int(t.Month()), true
}

// scanClock parses a time of day and returns the time since midnight, less the offset of its zone. "" means midnight.
// It returns false if s is not a time of day.
func scanClock(s string) (time.Duration, bool) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, true
	}
	m := clockShape.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	hour, minute, second := atoi(m[1]), atoi(m[2]), atoi(m[3])
	if half := strings.ToLower(m[5]); half != "" {
		if hour < 1 || hour > 12 {
			return 0, false
		}
		hour %= 12
		if half == "p" {
			hour += 12
		}
	}
	if hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	nanoseconds := atoi((m[4] + "000000000")[:9])
	clock := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second + time.Duration(nanoseconds)
	zone, ok := scanZone(m[6])
	return clock - zone, ok
}

// scanZone returns the offset of a zone from UTC; 0 for "" and for names of UTC. It returns false if the offset is too
// large.
func scanZone(s string) (time.Duration, bool) {
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, true
	}
	digits := strings.Replace(s[1:], ":", "", 1) + "00"
	hours, minutes := atoi(digits[:2]), atoi(digits[2:4])
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, hours <= 14 && minutes <= 59
}

// atoi returns the value of decimal digits, or 0 if there are none.
func atoi(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

// shows returns the order of day and month that the date shows because one of its numbers cannot be a month. It
// returns FromFile if both orders are possible, or if the date does not need one.
func (d date) shows() DateOrder {
	switch {
	case !d.needsOrder():
		return FromFile
	case d.first > 12 && d.first <= 31 && d.second <= 12:
		return DayFirst
	case d.second > 12 && d.second <= 31 && d.first <= 12:
		return MonthFirst
	}
	return FromFile
}

// needsOrder reports whether the date does not show by itself which number is the day.
func (d date) needsOrder() bool { return !d.known && d.serial.IsZero() }

// time returns the date as a time in UTC, with day and month in the given order if the date needs one. It returns
// false if the calendar has no such day.
func (d date) time(order DateOrder) (time.Time, bool) {
	if !d.serial.IsZero() {
		return d.serial, true
	}
	month, day := d.first, d.second
	if !d.known && order == DayFirst {
		month, day = day, month
	}
	midnight := time.Date(d.year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if midnight.Month() != time.Month(month) || midnight.Day() != day {
		return time.Time{}, false
	}
	return midnight.Add(d.rest), true
}

// dateOrder collects what the dates of a file show about the order of day and month.
type dateOrder struct {
	example  dateAt               // the first date that needs an order; its line is 0 if there is none
	evidence map[DateOrder]dateAt // for each order, the first date that shows it
}

// dateAt is a date in the file with its line number.
type dateAt struct {
	line      int
	text      string
	separator byte
}

// see adds a date of the file.
func (o *dateOrder) see(line int, text string, d date) {
	if !d.needsOrder() {
		return
	}
	at := dateAt{line, text, d.separator}
	if o.example.line == 0 {
		o.example = at
	}
	if shown := d.shows(); shown != FromFile {
		if _, ok := o.evidence[shown]; !ok {
			if o.evidence == nil {
				o.evidence = map[DateOrder]dateAt{}
			}
			o.evidence[shown] = at
		}
	}
}

// DateOrderError is the error of a file in which some dates have the day first and others the month.
type DateOrderError struct {
	DayFirst, MonthFirst         string // the first date with the day first, and the first with the month first
	DayFirstLine, MonthFirstLine int
}

func (e *DateOrderError) Error() string {
	return fmt.Sprintf("line %d has the date %q, with the day first, and line %d has %q, with the month first: name the order that is right with --date-format (dmy or mdy); the other rows are then left out",
		e.DayFirstLine, e.DayFirst, e.MonthFirstLine, e.MonthFirst)
}

// choose returns the order by which the file is to be read, and a sentence that explains it; the sentence is "" if no
// date needs an order. asked is the order that the caller has given, or FromFile. If the dates show both orders and
// asked is FromFile, the error is a *DateOrderError.
//
// If no date shows the order, it depends on the separator: month first with "/", as in the original data set, and day
// first with "-" and ".".
func (o *dateOrder) choose(asked DateOrder) (DateOrder, string, error) {
	if o.example.line == 0 {
		return MonthFirst, "", nil
	}
	taken := func(order DateOrder, why string) (DateOrder, string, error) {
		return order, fmt.Sprintf("dates like %s are taken as %s%s", o.example.text, order.words(), why), nil
	}
	if asked != FromFile {
		return taken(asked, ", as asked")
	}
	day, dayShown := o.evidence[DayFirst]
	month, monthShown := o.evidence[MonthFirst]
	switch {
	case dayShown && monthShown:
		return FromFile, "", &DateOrderError{day.text, month.text, day.line, month.line}
	case dayShown:
		return taken(DayFirst, fmt.Sprintf(", since line %d has %s", day.line, day.text))
	case monthShown:
		return taken(MonthFirst, fmt.Sprintf(", since line %d has %s", month.line, month.text))
	}
	order := DayFirst
	if o.example.separator == '/' {
		order = MonthFirst
	}
	return taken(order, fmt.Sprintf("; no date of the file shows it: --date-format %s takes them as %s", order.other(), order.other().words()))
}
