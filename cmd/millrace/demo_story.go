// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/console"
)

// demoStoryFile has the events of the story, a line of JSON each, in the state folder.
const demoStoryFile = "story.jsonl"

// What an event is of.
const (
	storyPattern   = "pattern"
	storyAlarm     = "alarm"
	storyCleared   = "cleared"
	storyRun       = "run"
	storyPromotion = "promotion"
	storyKept      = "kept"
	storyLabels    = "labels"
	storyRecovery  = "recovery"
)

// storyEvent is something that happened. Its Key tells it apart, so that it is told once.
type storyEvent struct {
	Key      string    `json:"key"`
	Time     time.Time `json:"time"` // simulated
	Kind     string    `json:"kind"`
	Text     string    `json:"text"`
	Link     string    `json:"link,omitempty"`
	Critical bool      `json:"critical,omitempty"`
	Alarm    string    `json:"alarm,omitempty"`
	Version  int64     `json:"version,omitempty"`
}

// storyDay is the quality of a day, NaN where it is not known.
type storyDay struct{ realised, estimated float64 }

// Bounds of what is kept in memory: the oldest go.
const (
	storyEventsMax = 2000
	storyDaysMax   = 1000
	// storyLook is how many days, before the last one that is known, are read again.
	storyLook = 20
)

// demoStory is what happened so far. Its methods may be called at once.
type demoStory struct {
	raised atomic.Int64 // alarms that are raised now
	mu     struct {
		sync.Mutex
		file   *os.File
		known  map[string]bool
		events []storyEvent
		days   map[int]storyDay
		from   int64 // see since
	}
}

// open reads what was told before, and takes more.
func (s *demoStory) open(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.known, s.mu.days = map[string]bool{}, map[int]storyDay{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if text, err = newestLines(path, text, storyEventsMax); err != nil {
		return err
	}
	if s.mu.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return err
	}
	if n := len(text); n > 0 && text[n-1] != '\n' { // a crash cut the last line short
		if _, err := s.mu.file.WriteString("\n"); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e storyEvent
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Key != "" {
			s.rememberLocked(e)
		}
	}
	return lines.Err()
}

func (s *demoStory) rememberLocked(e storyEvent) {
	s.mu.known[e.Key] = true
	if s.mu.events = append(s.mu.events, e); len(s.mu.events) > 2*storyEventsMax {
		for _, old := range s.mu.events[:storyEventsMax] {
			delete(s.mu.known, old.Key)
		}
		s.mu.events = slices.Delete(s.mu.events, 0, storyEventsMax)
	}
}

func (s *demoStory) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file == nil {
		return nil
	}
	return s.mu.file.Close()
}

// add takes an event, and says whether it is new. What is lost by a crash is told again.
func (s *demoStory) add(e storyEvent) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.known[e.Key] {
		return false, nil
	}
	s.rememberLocked(e)
	line, err := json.Marshal(e)
	if err != nil {
		return true, err
	}
	_, err = s.mu.file.Write(append(line, '\n'))
	return true, err
}

// day notes the quality of a day, which began at start, in microseconds; what is NaN leaves what was known.
func (s *demoStory) day(day int, start int64, realised, estimated float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.from = max(s.mu.from, start-storyLook*int64(24*time.Hour/time.Microsecond))
	one, known := s.mu.days[day]
	if !known {
		one = storyDay{math.NaN(), math.NaN()}
	}
	if !math.IsNaN(realised) {
		one.realised = realised
	}
	if !math.IsNaN(estimated) {
		one.estimated = estimated
	}
	s.mu.days[day] = one
	for old := range s.mu.days {
		if old < day-storyDaysMax {
			delete(s.mu.days, old)
		}
	}
}

// all are the events so far, oldest first.
func (s *demoStory) all() []storyEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.events)
}

// realised are the days with labels, in order, and their quality.
func (s *demoStory) realised() (days []int, auc map[int]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	auc = map[int]float64{}
	for day, one := range s.mu.days {
		if !math.IsNaN(one.realised) {
			days = append(days, day)
			auc[day] = one.realised
		}
	}
	slices.Sort(days)
	return days, auc
}

// dayOf counts days from the first one that is played, which is day 1.
func (d *demo) dayOf(t time.Time) int {
	return 1 + int(math.Floor(t.Sub(d.world.begin()).Hours()/24))
}

// tell adds to the story what is new, and prints it.
func (d *demo) tell(e storyEvent) {
	fresh, err := d.story.add(e)
	if err != nil {
		d.up.log.Error("the story cannot be written", "error", err)
	}
	if !fresh || d.options.headless {
		return
	}
	if d.terminal != nil { // the line of progress goes
		fmt.Fprintf(d.terminal, "\r%-*s\r", demoLineWidth, "")
	}
	fmt.Fprintf(d.out, "day %3d  %s\n", d.dayOf(e.Time), e.Text)
}

// changes tells of the days on which the world changed. Only the story knows.
func (d *demo) changes(now time.Time) {
	if d.world.Data != "" {
		return
	}
	for _, c := range d.world.options().Changes {
		at := d.world.Start.AddDate(0, 0, c.Day)
		if at.After(now) {
			return
		}
		d.tell(storyEvent{Key: "pattern " + at.Format(time.DateOnly), Time: at, Kind: storyPattern, Text: "from today on there is a new kind of fraud, " + c.Pattern.String() + "; nobody has told the model"})
	}
}

// last is the newest event of some kinds since a moment.
func (d *demo) last(since time.Time, kinds ...string) (storyEvent, bool) {
	for _, e := range slices.Backward(d.story.all()) {
		if !e.Time.Before(since) && slices.Contains(kinds, e.Kind) {
			return e, true
		}
	}
	return storyEvent{}, false
}

// chapter is the last change of the world, and what came of it so far; next is the change
// after it, if there is one.
type chapter struct {
	change, alarm, promotion, recovery, next storyEvent
	raised                                   int // critical alarms since the change that are not cleared
}

// chapter is that of the last change, or of the one before, whose promotion has not shown
// yet what it brought; ok is false before the first.
func (d *demo) chapter() (c chapter, ok bool) {
	before, c, ok := d.chapters()
	if before.awaited(d) {
		return before, ok
	}
	return c, ok
}

// improved is the last chapter with a promotion.
func (d *demo) improved() (c chapter, ok bool) {
	before, c, _ := d.chapters()
	if c.promotion.Key == "" {
		c = before
	}
	return c, c.promotion.Key != ""
}

// chapters are the last two; ok is false before the first.
func (d *demo) chapters() (before, c chapter, ok bool) {
	open := map[string]bool{}
	for _, e := range d.story.all() {
		if id, cleared := strings.CutPrefix(e.Key, "cleared "); cleared {
			delete(open, id)
		} else if e.Kind == storyAlarm && e.Critical {
			open[e.Alarm] = true
		}
		switch {
		case e.Kind == storyPattern:
			before, c, ok = c, chapter{change: e}, true
			before.next = e
			clear(open)
		case !ok:
		case e.Kind == storyRecovery && before.awaited(d):
			before.recovery = e
		case e.Kind == storyRecovery && c.recovery.Key == "":
			c.recovery = e
		case e.Kind == storyAlarm && e.Critical && c.alarm.Key == "" && !e.Time.Before(c.change.Time):
			c.alarm = e
		case e.Kind == storyPromotion && c.alarm.Key != "" && c.promotion.Key == "":
			c.promotion = e
		}
		c.raised = len(open)
	}
	return before, c, ok
}

// awaited says that the outcomes of enough days between the promotion and the next change are
// about to be known.
func (c *chapter) awaited(d *demo) bool {
	return c.promotion.Key != "" && c.recovery.Key == "" && d.dayOf(c.next.Time)-d.dayOf(c.promotion.Time)-1 >= demoRecoveryDays
}

// mean is the mean quality of the days in [from, to), and how many of them are known.
func (d *demo) mean(from, to int) (float64, int) {
	days, auc := d.story.realised()
	sum, n := 0.0, 0
	for _, day := range days {
		if day >= from && day < to {
			sum += auc[day]
			n++
		}
	}
	return sum / float64(n), n
}

// demoRecoveryDays are how many days behind a promotion have to be known.
const demoRecoveryDays = 3

// quality is the mean AUC in the weeks before the change, between it and the promotion, and
// behind that.
func (c *chapter) quality(d *demo) (before, at, after float64, known int) {
	change := d.dayOf(c.change.Time)
	before, _ = d.mean(change-14, change)
	end := math.MaxInt
	if c.promotion.Key != "" {
		end = d.dayOf(c.promotion.Time)
	}
	at, _ = d.mean(change, end)
	if c.promotion.Key != "" {
		until := math.MaxInt
		if c.next.Key != "" {
			until = d.dayOf(c.next.Time)
		}
		after, known = d.mean(end+1, until)
	}
	return before, at, after, known
}

// recovery tells when a promotion's days are known.
func (d *demo) recovery(now time.Time) {
	c, ok := d.chapter()
	if !ok || c.promotion.Key == "" || c.recovery.Key != "" {
		return
	}
	before, at, after, known := c.quality(d)
	if known < demoRecoveryDays {
		return
	}
	d.tell(storyEvent{Key: "recovery " + c.promotion.Key, Time: now, Kind: storyRecovery,
		Text: fmt.Sprintf("the outcomes of %d days with the new model are known: AUC %.3f, after %.3f while it did not know the new frauds and %.3f before", known, after, at, before), Link: "/console/monitors/" + demoMonitor})
}

// demoQuietDays are how many days after a change without an alarm there will hardly be one:
// its outcomes take a week, and another one to be judged.
const demoQuietDays = 14

// headline says what goes on at a simulated moment.
func (d *demo) headline(now time.Time) string {
	c, ok := d.chapter()
	switch {
	case !ok:
		return "all is well: what is paid is like what was learnt from"
	case c.recovery.Key != "":
		return "recovered: the new model knows the new frauds"
	case c.promotion.Key != "":
		return "a better model is in service; in a week its outcomes will show it"
	case d.busy.Load():
		return "a challenger is trained, judged and tried on a part of the payments"
	case c.raised > 0:
		return "quality fell and the alarm is out; the next challenger needs outcomes to learn from"
	case c.alarm.Key != "":
		return "quality is back though the model is the same: it has seen such frauds before"
	case d.dayOf(now)-d.dayOf(c.change.Time) > demoQuietDays:
		return "nothing fell: the model has seen such frauds before"
	}
	return "there are new frauds that the model does not know; outcomes will show it in a week"
}

// told is the story for the console.
func (d *demo) told() *console.Story {
	if d.up == nil || d.replay == nil {
		return nil
	}
	now := d.up.clock.now()
	s := &console.Story{Time: now, Day: d.dayOf(now), Speed: fmt.Sprintf("a day in %.1f s", 86400/max(d.options.pace, 1)), Headline: d.headline(now)}
	if d.options.pace == 0 {
		s.Speed = "as fast as it goes"
	}
	marks := map[string]string{storyPattern: console.MarkPattern, storyPromotion: console.MarkPromotion}
	for _, e := range d.story.all() {
		minor := e.Kind == storyCleared || e.Kind == storyAlarm && !e.Critical
		s.Events = append(s.Events, console.StoryEvent{Time: e.Time, Text: e.Text, Link: e.Link, Minor: minor})
		kind := marks[e.Kind]
		if e.Kind == storyAlarm && e.Critical {
			kind = console.MarkAlarm
		}
		if kind != "" {
			s.Quality.Marks = append(s.Quality.Marks, console.StoryMark{Day: float64(d.dayOf(e.Time)), Kind: kind, Text: e.mark()})
		}
	}
	s.Quality.Metric = "AUC"
	s.Quality.Points = d.story.points()
	return s
}

// mark is a word or two, beside a line in a plot.
func (e *storyEvent) mark() string {
	switch e.Kind {
	case storyPattern:
		return "new fraud"
	case storyPromotion:
		return fmt.Sprintf("version %d", e.Version)
	}
	return "alarm"
}

func (s *demoStory) points() []console.StoryPoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []console.StoryPoint
	for day, one := range s.mu.days {
		all = append(all, console.StoryPoint{Day: float64(day), Realised: one.realised, Estimated: one.estimated})
	}
	slices.SortFunc(all, func(a, b console.StoryPoint) int { return int(a.Day - b.Day) })
	return all
}

// since is the start of the first day that may still change, in microseconds.
func (s *demoStory) since() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.from
}
