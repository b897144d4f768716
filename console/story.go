// SPDX-License-Identifier: Apache-2.0

package console

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"time"
)

// Story is what a simulation tells of itself on the first page. It is made for one page and
// not changed after.
type Story struct {
	// Time is the simulated moment, Day the simulated day, from 1; Days is how many there
	// will be, 0 if nobody knows.
	Time      time.Time
	Day, Days int
	// Speed is how fast time goes, such as 43200x; Headline says in a sentence where the
	// story is.
	Speed, Headline string
	// Events are what happened, in order of time; the page has the newest storyEventsMax, of
	// which at most storyMinorMax are minor.
	Events []StoryEvent
	// Quality is what the plot shows.
	Quality StoryQuality
}

// StoryEvent is something that happened.
type StoryEvent struct {
	// Time is simulated.
	Time time.Time
	Text string
	// Link is the page about it, within the console; empty for none.
	Link string
	// Minor is what many of must not hide the others, such as a warning.
	Minor bool
}

// StoryQuality is the quality of decisions by simulated day.
type StoryQuality struct {
	// Metric is its name, such as AUC.
	Metric string
	// Points are by rising day; the plot has the last storyPointsMax.
	Points []StoryPoint
	// Marks are upright lines; the plot has the last storyMarksMax.
	Marks []StoryMark
}

// StoryPoint is the quality of a day. NaN is not known (yet).
type StoryPoint struct {
	Day float64
	// Realised is by labels, Estimated without them.
	Realised, Estimated float64
}

// Kinds of StoryMark, which have a colour each; others are quiet.
const (
	MarkPattern   = "pattern"
	MarkAlarm     = "alarm"
	MarkPromotion = "promotion"
)

// StoryMark is a moment in the plot, such as a change of a pattern.
type StoryMark struct {
	Day        float64
	Kind, Text string
}

// Bounds of a story.
const (
	storyEventsMax = 40
	storyMinorMax  = 10
	storyPointsMax = 2000
	storyMarksMax  = 100
)

// story is the story so far, newest event first and cut to its bounds; nil without one.
func (c *Console) story() *Story {
	if c.options.Story == nil {
		return nil
	}
	told := c.options.Story()
	if told == nil {
		return nil
	}
	s := *told
	s.Events = toldEvents(s.Events)
	s.Quality.Points, s.Quality.Marks = last(s.Quality.Points, storyPointsMax), last(s.Quality.Marks, storyMarksMax)
	return &s
}

// toldEvents are the events of a page, newest first.
func toldEvents(all []StoryEvent) (shown []StoryEvent) {
	minor := 0
	for _, e := range slices.Backward(all) {
		if e.Minor {
			if minor == storyMinorMax {
				continue
			}
			minor++
		}
		if shown = append(shown, e); len(shown) == storyEventsMax {
			break
		}
	}
	return shown
}

func last[T any](all []T, limit int) []T { return all[max(0, len(all)-limit):] }

// Now is the last realised quality, NaN without any.
func (q StoryQuality) Now() float64 {
	for _, p := range slices.Backward(q.Points) {
		if !math.IsNaN(p.Realised) {
			return p.Realised
		}
	}
	return math.NaN()
}

// plotData is what the plot of a story draws, a list for each series; null is not known.
type plotData struct {
	Metric    string     `json:"metric"`
	Days      []float64  `json:"days"`
	Realised  []*float64 `json:"realised"`
	Estimated []*float64 `json:"estimated"`
	Marks     []plotMark `json:"marks"`
}

type plotMark struct {
	Day  float64 `json:"day"`
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

// known is a number that JSON has a word for, or null.
func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func (c *Console) storyJSON(w http.ResponseWriter, r *http.Request) error {
	s := c.story()
	if s == nil {
		return notFound("There is no story.")
	}
	d := plotData{Metric: s.Quality.Metric, Days: []float64{}, Realised: []*float64{}, Estimated: []*float64{}, Marks: []plotMark{}}
	for _, p := range s.Quality.Points {
		if known(p.Day) != nil {
			d.Days, d.Realised, d.Estimated = append(d.Days, p.Day), append(d.Realised, known(p.Realised)), append(d.Estimated, known(p.Estimated))
		}
	}
	for _, m := range s.Quality.Marks {
		if known(m.Day) != nil {
			d.Marks = append(d.Marks, plotMark{m.Day, m.Kind, shorten(m.Text, 60)})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(d)
}
