// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"math"
	"time"
	_ "time/tzdata" // time zones by name on machines that have no table of them

	"github.com/millrace-ml/millrace/featurestore/column"
)

const microsPerSecond = 1e6

// timeArithmetic is time - time in seconds, and time plus or minus seconds.
func timeArithmetic(op string, a, b *value, at int) (*value, *Error) {
	x, y := a.num, b.num
	v := &value{typ: column.Timestamp}
	switch {
	case op == "-" && a.typ == column.Timestamp && b.typ == column.Timestamp:
		v.typ, v.num = column.Float64, func(r *Row) float64 { return finite((x(r) - y(r)) / microsPerSecond) }
	case op == "-" && a.typ == column.Timestamp && b.numeric():
		v.num = func(r *Row) float64 { return moved(x(r), -y(r)) }
	case op == "+" && a.typ == column.Timestamp && b.numeric():
		v.num = func(r *Row) float64 { return moved(x(r), y(r)) }
	case op == "+" && b.typ == column.Timestamp && a.numeric():
		v.num = func(r *Row) float64 { return moved(y(r), x(r)) }
	default:
		return nil, errorAt(at, "%s and %s cannot be combined by %s; a time minus a time is in seconds", a.name(), b.name(), op)
	}
	return made(v, at, op, a, b)
}

// moved is a time some seconds later, in whole microseconds.
func moved(micros, seconds float64) float64 {
	return exact(finite(micros + math.Round(seconds*microsPerSecond)))
}

// calendar compiles year, month, day, weekday, hour, minute of a time, in UTC or in a
// named time zone.
func calendar(name string, args []*value, at int) (*value, *Error) {
	if args[0].typ != column.Timestamp {
		return nil, errorAt(args[0].at, "%s needs a timestamp, this is %s", name, args[0].name())
	}
	part := parts[name]
	x := args[0].num
	v := &value{typ: column.Int64}
	if len(args) == 1 {
		v.num = inUTC(x, name)
		return made(v, at, name, args...)
	}
	zone := args[1]
	if zone.typ != column.String || !zone.constant || zone.word == "" || zone.word == "Local" {
		return nil, errorAt(zone.at, `the time zone must be a literal such as "Europe/Paris"`)
	}
	location, err := time.LoadLocation(zone.word)
	if err != nil {
		return nil, errorAt(zone.at, `unknown time zone %q; write one such as "Europe/Paris"`, zone.word)
	}
	v.num = func(r *Row) float64 {
		t := exact(x(r))
		if t != t {
			return t
		}
		return float64(part(time.UnixMicro(int64(t)).In(location)))
	}
	return made(v, at, name, args...)
}

var parts = map[string]func(time.Time) int{
	"year": time.Time.Year, "month": func(t time.Time) int { return int(t.Month()) }, "day": time.Time.Day,
	"hour": time.Time.Hour, "minute": time.Time.Minute,
	"weekday": func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 },
}

// inUTC avoids the calendar where a division will do.
func inUTC(x numberFunc, name string) numberFunc {
	const (
		minute = 60 * microsPerSecond
		hour   = 60 * minute
		day    = 24 * hour
	)
	within := func(step, cycle int64) func(int64) int64 {
		return func(t int64) int64 {
			t %= cycle
			if t < 0 {
				t += cycle
			}
			return t / step
		}
	}
	var f func(int64) int64
	switch name {
	case "minute":
		f = within(minute, hour)
	case "hour":
		f = within(hour, day)
	case "weekday":
		days := within(day, 7*day)
		f = func(t int64) int64 { return (days(t)+3)%7 + 1 } // 1970-01-01 was a Thursday
	default:
		part := parts[name]
		f = func(t int64) int64 { return int64(part(time.UnixMicro(t).UTC())) }
	}
	return func(r *Row) float64 {
		t := exact(x(r))
		if t != t {
			return t
		}
		return float64(f(int64(t)))
	}
}

// epoch compiles epoch(t), the seconds since 1970 UTC.
func epoch(name string, args []*value, at int) (*value, *Error) {
	if args[0].typ != column.Timestamp {
		return nil, errorAt(args[0].at, "%s needs a timestamp, this is %s", name, args[0].name())
	}
	x := args[0].num
	return made(&value{typ: column.Float64, num: func(r *Row) float64 { return finite(x(r) / microsPerSecond) }}, at, name, args...)
}

// instant compiles timestamp("2018-07-25T00:00:00Z").
func instant(_ string, args []*value, _ int) (*value, *Error) {
	a := args[0]
	if a.typ != column.String || !a.constant {
		return nil, errorAt(a.at, `timestamp needs a literal such as "2018-07-25T00:00:00Z"`)
	}
	t, err := time.Parse(time.RFC3339, a.word)
	if err != nil {
		return nil, errorAt(a.at, `%q is no time; write one such as "2018-07-25T00:00:00Z"`, a.word)
	}
	micros := float64(t.UnixMicro())
	if micros != exact(micros) {
		return nil, errorAt(a.at, "%q is beyond the year 2255", a.word)
	}
	return number(column.Timestamp, micros), nil
}
