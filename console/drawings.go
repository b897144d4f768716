// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/training/runs"
)

// Drawings are made here as numbers; the templates write them as SVG. Lengths are in
// units of the drawing's view box.

// gantt shows when the tasks of a run worked.
type gantt struct {
	Width, Height int
	Bars          []ganttBar
	Ticks         []ganttTick
}

type ganttBar struct {
	Task, Status, Text string
	X, Y, Width        float64
}

type ganttTick struct {
	X    float64
	Text string
}

const (
	ganttLabel = 170
	ganttWidth = 1150
	ganttRow   = 26
	ganttTicks = 8 // at most
	ganttMax   = 200
)

func drawGantt(s *orchestrator.RunStatus, now time.Time) gantt {
	end := s.Ended
	if end.IsZero() {
		end = now
	}
	span := max(end.Sub(s.Started), time.Millisecond)
	scale := func(t time.Time) float64 {
		return ganttLabel + float64(t.Sub(s.Started))/float64(span)*(ganttWidth-ganttLabel-30)
	}
	g := gantt{Width: ganttWidth}
	for _, t := range s.Tasks[:min(len(s.Tasks), ganttMax)] {
		b := ganttBar{Task: t.Name(), Status: string(t.Status), Y: float64(len(g.Bars)*ganttRow + 22), X: ganttLabel, Width: 0}
		if !t.Started.IsZero() {
			last := t.Ended
			if last.IsZero() {
				last = end
			}
			b.X = scale(t.Started)
			b.Width = max(scale(last)-b.X, 2)
			b.Text = shortDuration(last.Sub(t.Started))
		}
		g.Bars = append(g.Bars, b)
	}
	step := tickStep(span, ganttTicks)
	for d := time.Duration(0); d <= span; d += step {
		g.Ticks = append(g.Ticks, ganttTick{X: scale(s.Started.Add(d)), Text: strings.Replace(shortDuration(d), ".0 ", " ", 1)})
	}
	g.Height = len(g.Bars)*ganttRow + 28
	return g
}

// tickStep is the shortest round step of which at most limit are in a span, and one more.
func tickStep(span time.Duration, limit int) time.Duration {
	step := time.Millisecond
	for _, unit := range []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour} {
		for _, n := range []time.Duration{1, 2, 5, 10, 15, 30, 50, 100, 200, 500} {
			if step = n * unit; span/step < time.Duration(limit) {
				return step
			}
		}
	}
	return span // more than a hundred days
}

// graph shows how tasks depend on one another: in columns, each behind all that it waits for.
type graph struct {
	Width, Height int
	Nodes         []graphNode
	Edges         []graphEdge
}

type graphNode struct {
	Task, Uses, Status string
	X, Y               int
}

type graphEdge struct{ Path string }

const (
	nodeWidth  = 150
	nodeHeight = 44
	columnGap  = 50
	rowGap     = 16
)

func drawGraph(p *pipeline.Pipeline, s *orchestrator.RunStatus) graph {
	depth := map[string]int{}
	rows := map[int]int{}
	places := map[string]graphNode{}
	var g graph
	for _, t := range p.Order() {
		d := 0
		for _, before := range t.After {
			d = max(d, depth[before]+1)
		}
		depth[t.Name] = d
		n := graphNode{Task: t.Name, Uses: t.Uses, Status: s.Note(t.Name), X: 4 + d*(nodeWidth+columnGap), Y: 4 + rows[d]*(nodeHeight+rowGap)}
		rows[d]++
		places[t.Name] = n
		g.Nodes = append(g.Nodes, n)
		g.Width, g.Height = max(g.Width, n.X+nodeWidth+4), max(g.Height, n.Y+nodeHeight+4)
	}
	for _, t := range p.Tasks {
		to := places[t.Name]
		for _, before := range t.After {
			from := places[before]
			x1, y1, x2, y2 := from.X+nodeWidth, from.Y+nodeHeight/2, to.X, to.Y+nodeHeight/2
			middle := (x1 + x2) / 2
			g.Edges = append(g.Edges, graphEdge{fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, y1, middle, y1, middle, y2, x2, y2)})
		}
	}
	return g
}

// curveDrawing is a learning curve.
type curveDrawing struct {
	Name           string
	Points         string
	Low, High      float64
	First, Last    float64
	FirstStep, End int
}

const (
	curveWidth  = 400
	curveHeight = 120
)

func drawCurves(run *runs.Run) []curveDrawing {
	var all []curveDrawing
	for name, points := range run.Curves {
		if d, ok := drawCurve(name, points); ok {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b curveDrawing) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func drawCurve(name string, points []runs.Point) (curveDrawing, bool) {
	if len(points) == 0 {
		return curveDrawing{}, false
	}
	d := curveDrawing{Name: name, Low: points[0].Value, High: points[0].Value, First: points[0].Value, Last: points[len(points)-1].Value,
		FirstStep: points[0].Step, End: points[len(points)-1].Step}
	for _, p := range points {
		d.Low, d.High = min(d.Low, p.Value), max(d.High, p.Value)
	}
	if !(d.High >= d.Low) {
		return curveDrawing{}, false
	}
	var b strings.Builder
	for _, p := range points {
		x := float64(p.Step-d.FirstStep) / float64(max(d.End-d.FirstStep, 1)) * curveWidth
		y := curveHeight / 2.0
		if d.High > d.Low {
			y = (d.High - p.Value) / (d.High - d.Low) * curveHeight
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	d.Points = b.String()
	return d, true
}
