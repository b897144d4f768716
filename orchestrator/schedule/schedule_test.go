// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func schedule(t testing.TB, spec Spec) *Schedule {
	t.Helper()
	s, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"0 3 * * *", "", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-01-10T12:00:00Z", "2026-01-11T02:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-07-10T12:00:00Z", "2026-07-11T01:00:00Z"},
		{"CRON_TZ=Asia/Tokyo 0 9 * * 1", "", "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"@every 90m", "", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
		{"@daily", "", "2024-02-28T10:00:00Z", "2024-02-29T00:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"}, // 02:30 does not exist on 29 March
		{"0 0 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		got := schedule(t, Spec{Cron: c.cron, Timezone: c.zone}).Next(at(t, c.after))
		if !got.Equal(at(t, c.want)) {
			t.Errorf("%s %s after %s: %s, want %s", c.cron, c.zone, c.after, got.UTC(), c.want)
		}
	}
}

func TestDue(t *testing.T) {
	const last, now = "2026-01-01T00:00:00Z", "2026-01-01T05:10:00Z"
	for _, c := range []struct {
		catchUp CatchUp
		most    int
		grace   time.Duration
		want    string
		missed  int
	}{
		{CatchUpNone, 0, time.Minute, "", 5},
		{CatchUpNone, 0, 15 * time.Minute, "05", 4},
		{CatchUpLast, 0, time.Minute, "05", 4},
		{CatchUpAll, 0, time.Minute, "01 02 03 04 05", 0},
		{CatchUpAll, 2, time.Minute, "04 05", 3},
	} {
		s := schedule(t, Spec{Cron: "0 * * * *", CatchUp: c.catchUp, CatchUpMax: c.most})
		due, missed := s.Due(at(t, last), at(t, now), c.grace)
		var hours []string
		for _, d := range due {
			hours = append(hours, d.Format("15"))
		}
		if got := strings.Join(hours, " "); got != c.want || missed != c.missed {
			t.Errorf("%s, at most %d: %q and %d missed, want %q and %d", c.catchUp, c.most, got, missed, c.want, c.missed)
		}
	}
}

func TestDueOfManyYearsEnds(t *testing.T) {
	s := schedule(t, Spec{Cron: "@every 1s", CatchUp: CatchUpAll, CatchUpMax: 3})
	due, missed := s.Due(at(t, "2000-01-01T00:00:00Z"), at(t, "2026-01-01T00:00:00Z"), 0)
	if len(due) != 3 || missed != looks-3 {
		t.Errorf("%d due, %d missed", len(due), missed)
	}
}

func TestBadSpecs(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want []string
	}{
		{Spec{}, []string{"cron is empty"}},
		{Spec{Cron: "61 * * * *"}, []string{"61"}},
		{Spec{Cron: "CRON_TZ=UTC"}, []string{"cannot be read"}},
		{Spec{Cron: "0 0 31 2 *"}, []string{"never due"}},
		{Spec{Cron: "@every 1ms"}, []string{"one second"}},
		{Spec{Cron: "CRON_TZ=UTC 0 3 * * *", Timezone: "UTC"}, []string{"given twice"}},
		{Spec{Cron: "* * * *", CatchUp: "some", Overlap: "x", CatchUpMax: -1},
			[]string{"fields", "catch_up is", "overlap is", "catch_up_max"}},
		{Spec{Cron: "@daily", Timezone: "Mars"}, []string{"Mars"}},
	} {
		_, err := New(c.spec)
		if !errors.Is(err, ErrSpec) {
			t.Errorf("%+v: %v", c.spec, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q in it", c.spec, err, want)
			}
		}
	}
}
