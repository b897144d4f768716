// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/millrace-ml/millrace/console/vectors"
)

// histogram shows distributions over one another: bars for now, lines for what they are
// compared with. Lengths are in units of the view box.
type histogram struct {
	Width, Height int
	// Title says in words what is drawn.
	Title string
	Bars  []histogramBar
	// Before and Reference are paths; empty for none.
	Before, Reference string
	// Low and High are the ends of the axis of a large drawing of numbers.
	Low, High string
	// Top is the share that takes the whole height, empty for none.
	Top string
}

type histogramBar struct {
	X, Y, Width, Height float64
	Text                string
}

// histogramSize is how large a histogram is drawn.
type histogramSize struct {
	width, height, bins int
}

var (
	smallHistogram = histogramSize{width: 132, height: 34, bins: 16}
	largeHistogram = histogramSize{width: 720, height: 230, bins: 36}
)

// drawHistogram draws what was now, and before and in the reference if they have rows.
func drawHistogram(now, before, reference *vectors.Distribution, size histogramSize) histogram {
	h := histogram{Width: size.width, Height: size.height, Title: histogramTitle(now, before)}
	var shares [3][]float64
	sides := [...]*vectors.Distribution{now, before, reference}
	if len(now.Categories)+len(before.Categories) > 0 {
		rows := categoryRows(sides[:]...)
		for _, r := range rows[:min(len(rows), size.bins)] {
			shares[0], shares[1], shares[2] = append(shares[0], r.Now), append(shares[1], r.Before), append(shares[2], r.Reference)
		}
	} else if edges := binEdges(size.bins, sides[:]...); len(edges) > 1 {
		for i, d := range sides {
			shares[i] = binShares(d, edges)
		}
		low, high := edges[0], edges[len(edges)-1]
		if low-math.Trunc(low) != 0 && high-low == float64(len(edges)-1) { // a bin for each whole number, about it
			low, high = low+0.5, high-0.5
		}
		h.Low, h.High = formatNumber(low), formatNumber(high)
	}
	most := 0.0
	for _, side := range shares {
		for _, s := range side {
			if s > most { // NaN is not
				most = s
			}
		}
	}
	if n := len(shares[0]); n > 0 && most > 0 {
		h.Top = percentText(most)
		h.draw(shares, float64(size.width)/float64(n), float64(size.height-2), most)
	}
	return h
}

// draw makes bars and lines of shares, the highest of which takes the whole height.
func (h *histogram) draw(shares [3][]float64, width, height, most float64) {
	for i, s := range shares[0] {
		if s > 0 {
			b := histogramBar{X: tenth(float64(i)*width + 0.5), Width: tenth(max(width-1, 0.5)), Height: tenth(max(s/most*height, 0.5)), Text: fmt.Sprintf("%.1f %%", 100*s)}
			b.Y = tenth(height + 2 - b.Height)
			h.Bars = append(h.Bars, b)
		}
	}
	h.Before, h.Reference = stepPath(shares[1], width, height, most), stepPath(shares[2], width, height, most)
}

// tenth rounds a length, so that drawings are short.
func tenth(v float64) float64 { return math.Round(10*v) / 10 }

// stepPath is the outline of bars.
func stepPath(shares []float64, width, height, most float64) string {
	if len(shares) == 0 || math.IsNaN(shares[0]) {
		return ""
	}
	var b strings.Builder
	for i, s := range shares {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1fH%.1f", command, float64(i)*width, height+2-s/most*height, float64(i+1)*width)
	}
	return b.String()
}

func histogramTitle(now, before *vectors.Distribution) string {
	if len(now.Categories)+len(before.Categories) > 0 {
		name := func(d *vectors.Distribution) string {
			if len(d.Categories) == 0 {
				return "nothing"
			}
			return shorten(d.Categories[0].Name, 40)
		}
		return "most often " + name(now) + " now, " + name(before) + " in the week before"
	}
	return fmt.Sprintf("median %s now, %s in the week before", formatNumber(now.Quantiles[3]), formatNumber(before.Quantiles[3]))
}

// binEdges cuts what nearly all values of all sides are within into bins of one width; whole
// numbers of a small range have a bin each.
func binEdges(bins int, sides ...*vectors.Distribution) []float64 {
	low, high, whole := math.Inf(1), math.Inf(-1), true
	for _, d := range sides {
		if d == nil || len(d.Sorted) == 0 {
			continue
		}
		low, high = min(low, d.Sorted[len(d.Sorted)/200]), max(high, d.Sorted[len(d.Sorted)-1-len(d.Sorted)/200])
		for _, v := range d.Sorted {
			whole = whole && v == math.Trunc(v)
		}
	}
	switch {
	case low > high:
		return nil
	case whole && high-low < float64(bins):
		bins = int(high-low) + 1
		low, high = low-0.5, high+0.5
	case low == high:
		low, high, bins = low-0.5, high+0.5, 1
	}
	edges := make([]float64, bins+1)
	for i := range edges {
		edges[i] = low + (high-low)*float64(i)/float64(bins)
	}
	return edges
}

// binShares are the shares of values in bins; what is beyond the ends is in the last ones.
func binShares(d *vectors.Distribution, edges []float64) []float64 {
	if d == nil || len(d.Sorted) == 0 {
		return nil
	}
	shares := make([]float64, len(edges)-1)
	from := 0
	for i := range shares {
		to := len(d.Sorted)
		if i < len(shares)-1 {
			to = sort.SearchFloat64s(d.Sorted, edges[i+1])
		}
		shares[i] = float64(to-from) / float64(len(d.Sorted))
		from = to
	}
	return shares
}

// shareDrawing is a share over time.
type shareDrawing struct {
	Width, Height int
	Points        []sharePoint
	Most          string
}

type sharePoint struct {
	X, Y, Width, Height float64
	Text                string
}

const (
	sharesWidth  = 720
	sharesHeight = 90
)

// drawShares draws shares as bars, the highest at the top; nothing if all are 0.
func drawShares(shares []vectors.Share) shareDrawing {
	d := shareDrawing{Width: sharesWidth, Height: sharesHeight}
	most := 0.0
	for _, s := range shares {
		if s.Share > most { // NaN is not
			most = s.Share
		}
	}
	if !(most > 0) {
		return d
	}
	d.Most = fmt.Sprintf("%.1f %%", 100*most)
	width := sharesWidth / float64(len(shares))
	for i, s := range shares {
		if s.Rows > 0 {
			height := s.Share / most * (sharesHeight - 4)
			d.Points = append(d.Points, sharePoint{X: tenth(float64(i) * width), Y: tenth(sharesHeight - height), Width: tenth(width - 2), Height: tenth(height),
				Text: fmt.Sprintf("%s: %.1f %% of %d", s.Time.Format("2006-01-02 15:04"), 100*s.Share, s.Rows)})
		}
	}
	return d
}
